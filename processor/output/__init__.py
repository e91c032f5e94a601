"""Outputs of rules: an event in, the text and fields of its alert out."""
