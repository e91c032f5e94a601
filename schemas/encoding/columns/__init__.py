"""Columns of a batch on the wire: values in, bounds-checked columns out, and back."""
