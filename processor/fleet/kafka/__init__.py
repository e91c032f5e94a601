"""Faust's Kafka transport: bounded fetches in, messages acknowledged by hand out."""
