"""Finds what matters: EventBatch in, Alert out."""
