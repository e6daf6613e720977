"""Dialogues: their turns, and the two ways in which data write them."""
