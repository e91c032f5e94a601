"""The wire format: batches, filters and messages in, bytes out, and back."""
