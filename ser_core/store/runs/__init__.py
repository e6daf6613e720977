"""What runs store, and how it is locked, taken over, counted and deleted."""
