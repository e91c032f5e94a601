"""Hosts of a fleet: batches in, gaps, silence and clock skew out."""
