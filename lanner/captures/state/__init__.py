"""The state of the captured host: threads, descriptors, users and containers, followed from event to event."""
