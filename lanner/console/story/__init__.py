"""One alert's story: what happened around it, why its rule matched, and what can be made of it."""
