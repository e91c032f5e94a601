"""Sinks from settings: a section of the settings in, a sink ready to deliver out."""
