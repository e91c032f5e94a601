"""What the kernel may leave out: pushdown filters in, filled kernel maps out."""
