"""Commands that change no run."""
