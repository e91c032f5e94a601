"""Limits this process's RSS through malloc options."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE = 128 << 10


def keep_memory_small() -> None:
    """Make the C library return freed memory and use one heap for all threads; call before starting threads.

    glibc gives each thread its own heap, and after the first large allocation places larger ones in the heap, where
    later blocks pin them: after a flood a third of a collector's memory was free but resident. Names and defaults:
    mallopt(3). Other C libraries don't need it.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for parameter, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, _LARGE), (_TRIM_THRESHOLD, _LARGE)):
            libc.mallopt(parameter, value)
