"""Kubernetes audit events in a fleet: their topic in, alerts out."""
