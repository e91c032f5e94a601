"""Pages, and the files that they need."""
