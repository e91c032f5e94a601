"""Pages and JSON about hosts and rules."""
