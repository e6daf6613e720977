"""How good a reward model is, and whether another one is better or it is chance. numpy alone."""
