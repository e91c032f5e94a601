"""Detection: event batches in, alerts of single events and pre-matches for correlation out."""
