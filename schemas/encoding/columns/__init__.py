"""The columns of a batch on the wire: bytes in, bounds-checked columns out, and back."""
