"""Evaluation of Kubernetes audit events."""
