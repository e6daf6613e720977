"""The process around a stage: its spec, its surroundings in the pod, what it reports, its commit and its exit code."""
