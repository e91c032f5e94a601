"""Kafka clients: messages in, acknowledged messages or messages read from topics out."""
