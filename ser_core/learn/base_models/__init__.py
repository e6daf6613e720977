"""Base models, tried without their weights before anything is spent."""
