"""Rows of data files, whatever they are written as."""
