"""The kernel's ring buffers: bytes in, decoded records out."""
