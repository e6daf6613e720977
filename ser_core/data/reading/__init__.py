"""Reading: where data and models are, in which form, and what a row says."""
