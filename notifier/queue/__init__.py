"""What waits for a sink: alerts in, alerts in order out, each until it is acknowledged."""
