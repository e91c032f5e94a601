"""Dead letters in topics and outboxes: takes filters and ids; returns dead letters, retries or discards them."""
