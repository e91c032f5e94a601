"""The retained events topic: takes a host and a time range, returns batches."""
