"""The kernel's filter of events: pushdown filters in, filled kernel maps out."""
