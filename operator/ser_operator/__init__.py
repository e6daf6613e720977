"""The control plane: SERRuns become Jobs. kopf watches, `ser_core.loop.plan` decides, nothing here imports torch.

From top to bottom: `main`, `loop`, `cluster`, `pages`, `facts`, `objects`, `settings`.
"""
