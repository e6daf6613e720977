"""What stages store: keys, parts, manifests and the commit protocol, checkpoints."""
