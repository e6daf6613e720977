"""What Job, pods and Workload say of an attempt. Pure but for the legs, which are remembered."""
