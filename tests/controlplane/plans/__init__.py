"""What can go wrong, by concern; `controlplane.faults` carries it out."""
