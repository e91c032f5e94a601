"""Limits this process's RSS through malloc options, and what Python spends on searching for garbage."""

import ctypes
import gc
import importlib
import importlib.util
import sys
import threading
import time

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE = 128 << 10
_START_SECONDS, _TRIM_SECONDS = 1.0, 60.0
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


def return_free_memory(first_seconds: float = _START_SECONDS, every_seconds: float = _TRIM_SECONDS) -> None:
    """Make the C library return all freed memory regularly, on a thread, and more often at first: a start leaves 2 MiB.

    A heap shrinks by itself at its end only, and what is in use there keeps resident what is free before it. A
    processor whose threads allocate at the same time also needs a heap for each, since one for all costs a tenth of its
    speed or more, and one whose broker restarts for an hour had 300 MB that were free. Source: malloc_trim(3).
    """
    libc = ctypes.CDLL(None)
    is_enabled = gc.isenabled()

    def trim() -> None:
        nonlocal is_enabled
        seconds = first_seconds
        while True:
            time.sleep(seconds)
            if not is_enabled:
                is_enabled = True
                gc.enable()
                gc.collect()
            libc.malloc_trim(0)
            seconds = min(2 * seconds, every_seconds)

    if not hasattr(libc, "malloc_trim"):
        gc.enable()
    else:
        threading.Thread(target=trim, name="malloc-trim", daemon=True).start()


def collect_cycles_rarely() -> None:
    """Make Python search for cyclic garbage after 2,000 new objects instead of 700, and first in return_free_memory().

    Records, processes and events form no cycles, so that reference counts free them. A fifth of the time of a program
    start was spent on searching them, and a tenth of this process's own start, which makes much that stays.
    """
    gc.set_threshold(_CONTAINERS)
    gc.disable()


def hash_without_openssl() -> None:
    """Import `hashlib` and `hmac` without OpenSSL, whose library takes 3.4 MiB; Python has the algorithms itself.

    Both do the same where Python is built without OpenSSL. What needs it, such as TLS and signatures, imports it later.
    Does nothing if a module of OpenSSL was imported before.
    """
    _import_without("_hashlib", "hashlib", "hmac")


def avro_without_snappy() -> None:
    """Import `fastavro` without the library of a compression that Lanner doesn't read or write; it takes 1.5 MiB.

    Does nothing if one of them was imported before.
    """
    _import_without("cramjam", "fastavro")


def _import_without(library: str, *modules: str) -> None:
    if {library, *modules} & set(sys.modules):
        return
    # None makes its import fail. Source: Python's documentation of the import system, "The module cache".
    sys.modules[library] = None  # type: ignore[assignment]
    try:
        for each in modules:
            importlib.import_module(each)
    finally:
        del sys.modules[library]


_PACKAGE = "confluent_kafka"


def import_core() -> None:
    """Import the package with the names of its C module; the first use of any other name imports the rest.

    Does nothing if the package was imported before, or has no such module.
    """
    spec = None if _PACKAGE in sys.modules else importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.loader is None:
        return
    package = importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE] = package
    try:
        core = importlib.import_module(f"{_PACKAGE}.cimpl")
        # It and `serialization` import each other, which works in this order only.
        importlib.import_module(f"{_PACKAGE}.error")
    except ImportError:
        del sys.modules[_PACKAGE]
        return

    def import_rest(name: str) -> object:
        # From here on, a name that is missing is an error.
        if vars(package).pop("__getattr__", None) is not None and spec.loader is not None:
            spec.loader.exec_module(package)
        return getattr(package, name)

    names = {name: value for name, value in vars(core).items() if not name.startswith("_")}
    vars(package).update(names, __getattr__=import_rest)
