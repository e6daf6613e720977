"""The stages, a module each: what it reads, computes and gives back."""
