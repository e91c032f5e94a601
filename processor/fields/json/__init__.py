"""Fields of events that are JSON documents: Kubernetes audit events, and those of sources with a mapping."""
