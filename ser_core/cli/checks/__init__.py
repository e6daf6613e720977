"""What `ser validate` checks, a module for each part of a run."""
