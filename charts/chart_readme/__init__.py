"""The table of values in the chart's README, made from values.yaml and its schema."""
