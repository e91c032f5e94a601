"""What happened around an event: retained events of a host, and of hosts that its connections lead to."""
