"""Alerts by HTTP POST, in the forms that receivers expect."""
