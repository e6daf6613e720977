"""What the operator serves: metrics and probes."""
