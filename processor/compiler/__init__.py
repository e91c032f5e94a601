"""From the tree of a condition to Python functions that judge events."""
