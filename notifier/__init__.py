"""Tells people and SIEMs: Alert in, messages out."""
