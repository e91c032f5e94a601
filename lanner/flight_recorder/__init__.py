"""What was kept of a fleet's or a host's events: looked at round an alert, or judged by other rules."""
