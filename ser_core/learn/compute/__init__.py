"""What computes: engines of one or several processes, precision, adapters. Knows no reward model and no policy."""
