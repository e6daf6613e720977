"""What one GPU does: each stage that computes on GPUs, as it is shipped, and peers, on random weights and random rows."""
