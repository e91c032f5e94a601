"""The Kubernetes Container Runtime Interface: a container's name in, its facts and those of its pod out."""
