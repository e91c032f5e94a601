"""What waits in a pipeline: consumer groups of a broker or outboxes of a host in, queues out."""
