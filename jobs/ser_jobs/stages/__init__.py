"""The stages: what each reads, computes and gives back, and what several of them share."""
