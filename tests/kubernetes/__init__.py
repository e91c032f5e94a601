"""A real cluster of one node: its programs are compiled from their Go module, its images are built here."""
