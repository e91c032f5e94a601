"""What one host remembers: events and alerts in, the newest of them in a folder of limited size."""
