"""A process's cgroup and namespaces in, the name of its container out."""
