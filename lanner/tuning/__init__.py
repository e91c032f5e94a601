"""Evaluates rules on stored events, and states what those can't show."""
