"""A search in retained events: takes a condition in the rule language, returns the events that match, newest first."""
