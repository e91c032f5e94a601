"""Reads files that others write, up to a number of bytes."""

import os


def read_up_to(descriptor: int, limit: int) -> bytes:
    """Return the bytes of an open file up to its end or the limit. Raises OSError."""
    parts, left = [], limit
    while left > 0 and (part := os.read(descriptor, left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def read_file(path: str, limit: int) -> bytes | None:
    """Return the first bytes of a file; None if it can't be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return read_up_to(descriptor, limit)
    except OSError:
        return None
    finally:
        os.close(descriptor)
