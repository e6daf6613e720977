"""The object store port, its file and S3 adapters, manifests and the commit protocol."""
