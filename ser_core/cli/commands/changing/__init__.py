"""Commands that change runs, or make them."""
