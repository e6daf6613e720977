"""A real Kubernetes control plane, a kubelet that starts processes and an S3 server, all on loopback, for end-to-end tests."""
