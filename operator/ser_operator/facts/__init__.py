"""From objects of the cluster to facts that the planner takes. Pure but for the cache, which remembers."""
