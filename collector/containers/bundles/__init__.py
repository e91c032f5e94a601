"""OCI bundles on disk: a container's name in, the facts that its config.json contains out."""
