"""Containers: a cgroup path in, the container's id and its runtime's facts out."""
