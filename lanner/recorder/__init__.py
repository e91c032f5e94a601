"""Recorded events: an alert or a time range in, the batches and events around it out."""
