"""Models in folders: read, checked against their configuration, written."""
