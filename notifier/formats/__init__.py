"""Formats of alerts: an alert in, a line or document out."""
