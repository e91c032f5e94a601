"""Metrics and health by stage: a running stage in, readings out."""
