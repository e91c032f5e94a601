"""Proposes exceptions from alerts, with proof of what they would hide."""
