"""Delivery to one sink: queued alerts in, attempts, retries and statistics out."""
