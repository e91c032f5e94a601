"""The retained events topic: a host and a time range in, batches out."""
