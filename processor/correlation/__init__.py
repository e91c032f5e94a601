"""Stateful rules: pre-matched events in, alerts of windows and summaries of repeats out."""
