"""Everything that can go wrong with a run, place by place: `python -m controlplane.faults`."""
