"""Metrics and health by stage: takes a running stage, returns readings and checks."""
