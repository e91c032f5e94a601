"""The collector against the real kernel."""
