"""Preference data: `reading` it, `preparing` it, and the `tables` that stages hand on. No torch."""
