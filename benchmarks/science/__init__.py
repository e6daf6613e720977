"""The ladder: does self-labelling help on real preferences, and why (docs/results.md has the plan and the tables)."""
