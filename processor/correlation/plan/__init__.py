"""Stateful rules: loaded rules in, a plan of windows and terms out."""
