"""What computes: engines of one or several processes, precision, loading, adapters. Knows no reward model and no policy."""
