"""Kinds of values that fields take."""
