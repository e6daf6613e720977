"""What is stored: `objects` (the store), `stages` (the commit protocol), `runs`."""
