"""Watches one host: eBPF in, EventBatch out."""
