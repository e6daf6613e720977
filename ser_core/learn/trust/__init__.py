"""What decides whether a self-label is trusted and a model is better: calibration, selection, evaluation. numpy alone."""
