"""Measurements, each by the command that makes it; nothing here is asserted by the clock."""
