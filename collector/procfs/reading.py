"""Reads files of procfs. It imports `os` alone: the process for look-ups, which all hosts have, needs little else."""

import os

MAX_MEMORY_FILE = 64 * 1024
"""Bytes read of a command line or an environment; longer ones would be cut off anyway."""


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


def read_memory(proc: os.PathLike[str] | str, pid: int) -> tuple[bytes | None, bytes | None]:
    """Return the command line and the environment of a process, both as in procfs.

    They lie in the process's memory: anyone who holds its locks, for example by mapping a file of a FUSE server that
    doesn't respond, blocks the reader.
    """
    folder = f"{proc}/{pid}"
    return read_file(f"{folder}/cmdline", MAX_MEMORY_FILE), read_file(f"{folder}/environ", MAX_MEMORY_FILE)
