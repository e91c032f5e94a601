"""Recorded events: takes an alert or a time range, returns the batches and events around it."""
