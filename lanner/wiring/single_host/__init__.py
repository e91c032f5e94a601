"""`lanner run`: settings in, all stages in one process out."""
