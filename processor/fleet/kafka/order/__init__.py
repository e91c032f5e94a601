"""In which order messages of a partition are taken, and in which they are acknowledged."""
