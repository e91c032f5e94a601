"""Kafka clients: messages in, acknowledged messages out; every retriable error is retried."""
