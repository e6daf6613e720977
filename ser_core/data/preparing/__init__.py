"""Preparing: pairs that can be used, split by prompt, with the labels of the pool hidden."""
