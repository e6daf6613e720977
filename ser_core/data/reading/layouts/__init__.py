"""Layouts: which columns a file has, and how they make pairs."""
