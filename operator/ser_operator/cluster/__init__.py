"""The API server and the pods: every request that leaves the operator."""
