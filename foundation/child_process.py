"""The command that runs a function of ours in a process of its own."""

import sys
from collections.abc import Callable
from pathlib import Path

_PACKAGES = Path(__file__).resolve().parents[1]


def child_command(main: Callable[[list[str]], None], argument: str) -> list[str]:
    """Return the command that calls a function with the arguments that are appended to it.

    The process has only our own packages and the standard library, for a fast start and little memory.

    Args:
        main: the function, of a module.
        argument: what a frozen program, which has no interpreter to call, is started with instead.
    """
    if getattr(sys, "frozen", False):
        return [sys.executable, argument]
    start = (
        f"import sys; sys.path.insert(0, {str(_PACKAGES)!r}); from {main.__module__} import main; main(sys.argv[1:])"
    )
    return [sys.executable, "-I", "-S", "-c", start]
