"""Fields of events that are JSON documents: Kubernetes audit events."""
