"""The /proc file system: a process id in, facts of the process out."""
