"""Shared domain of the SER operator: API types, planner, learning, data, store, command line and report."""
