"""The planner: pure functions from what was reported to what to do next. No I/O, no clock, no torch."""
