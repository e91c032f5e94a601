"""Follows a log file over its rotations, and remembers how far it was read."""
