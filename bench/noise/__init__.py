"""Records ordinary work and counts the alerts that rules raise on it."""
