"""Preference data: formats, validation, splitting, and the tables that stages hand on. No torch."""
