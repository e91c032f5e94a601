"""Docker's Engine API: a container's name in, its facts out. Podman offers the same API."""
