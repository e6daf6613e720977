"""The planner: pure functions from what was reported to what to do next. `plan` decides, then records. No I/O, no clock, no torch."""
