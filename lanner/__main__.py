"""Entry point. Exits silently on SIGINT or SIGTERM, even during start-up."""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

from foundation.dataclass_methods import make_methods_late

_PACKAGES = ("bus", "collector", "foundation", "lanner", "notifier", "processor", "schemas")


def _leave_at_once(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    os._exit(0)


def main() -> int:
    """Run the command line and return its exit code."""
    # Until a command installs its own handlers (lanner.process) nothing is to clean up. An exception raised
    # by a handler could be swallowed by Python, and during exec() it makes CPython die of the signal regardless.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave_at_once)
    make_methods_late(_PACKAGES)
    from lanner.cli.app import run_command_line  # noqa: PLC0415

    code = run_command_line()
    if "lanner.hunting.sql" in sys.modules:
        # PyArrow reads on after a query that needed few rows, and ends the process by SIGSEGV if Python ends before.
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
