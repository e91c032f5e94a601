"""Watches one host: eBPF records in, EventBatch out."""
