"""The text that a model reads for a prompt and an answer."""
