"""The processor: event batches in, alerts out."""
