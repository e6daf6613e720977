"""What stages that train share: their inputs, plans, progress, checkpoints and outputs."""
