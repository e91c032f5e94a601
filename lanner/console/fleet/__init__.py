"""The hosts and rules behind the alerts: read from a fleet's topics, from this process, or not known."""
