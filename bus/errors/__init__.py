"""Broker errors: client errors in, their meaning and remedy out."""
