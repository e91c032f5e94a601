"""Intake of Kubernetes audit events: webhook, file or topic in, the topic of audit events out."""
