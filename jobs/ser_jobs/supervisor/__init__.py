"""PID 1 of a stage's container: it starts the ranks, watches them and ends them. Imports no stage and no torch."""
