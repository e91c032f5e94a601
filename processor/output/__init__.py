"""From an event to what a rule says about it."""
