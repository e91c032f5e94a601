"""Formats of alerts: an alert in, a line or message out; and Falco's JSON in, an alert out."""
