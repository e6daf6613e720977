"""The control plane: SERRuns become Jobs. kopf watches, `ser_core.loop.plan` decides, nothing here imports torch."""
