"""Consumer groups: how far each is behind."""
