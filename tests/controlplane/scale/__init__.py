"""How fast and how large one operator is: `python -m controlplane.scale`."""
