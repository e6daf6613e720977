"""*Run*: how does this run evolve, and what does it do right now? A file a row."""
