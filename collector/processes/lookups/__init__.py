"""Look-ups that may block: a path of a process or container in, its content or a time-out out."""
