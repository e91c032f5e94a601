"""Queues of one sink: alerts in, the same alerts in order out until each is acknowledged."""
