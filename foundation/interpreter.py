"""Python's interpreter: its collector of cycles, and the command that runs one of our functions in another process."""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PACKAGES = Path(__file__).resolve().parents[1]


@contextmanager
def no_collections() -> Iterator[None]:
    """Collect no cycles while many objects without cycles are made."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def child_command(main: Callable[[list[str]], None], argument: str, *, has_libraries: bool = False) -> list[str]:
    """Return the command that calls a function with the arguments that are appended to it.

    Args:
        main: the function, of a module.
        argument: what a frozen program, which has no interpreter to call, is started with instead.
        has_libraries: whether the process has the installed libraries besides our own packages and the standard
            library, for which it starts later and takes more memory.
    """
    if getattr(sys, "frozen", False):
        return [sys.executable, argument]
    start = (
        f"import sys; sys.path.insert(0, {str(_PACKAGES)!r}); from {main.__module__} import main; main(sys.argv[1:])"
    )
    return [sys.executable, "-I", *(() if has_libraries else ("-S",)), "-c", start]
