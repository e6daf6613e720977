"""The files of a base model: which ones it needs, and what is refused."""
