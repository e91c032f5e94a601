"""Keeps this process's memory near what it uses."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE = 128 << 10


def keep_memory_small() -> None:
    """Have the C library give back what is freed, and keep one heap for all threads; call it before there are any.

    glibc gives each thread a heap of its own, and after the first large piece keeps larger ones in the heap, where what
    lies behind them holds them: after a flood a third of a collector's own memory was nothing. Names and defaults:
    mallopt(3). Other C libraries do without.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for parameter, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, _LARGE), (_TRIM_THRESHOLD, _LARGE)):
            libc.mallopt(parameter, value)
