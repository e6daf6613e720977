"""The object store: its port, its file and S3 adapters."""
