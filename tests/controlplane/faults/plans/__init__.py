"""What can go wrong, by concern; `controlplane.faults.faults` carries it out."""
