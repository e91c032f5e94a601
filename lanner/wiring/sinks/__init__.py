"""Sinks from settings: a section in, a sink ready to deliver out."""
