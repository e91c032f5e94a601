"""Where the program begins: it can be stopped from its first moment on without a word."""

import os
import signal
import sys
from types import FrameType


def _leave_at_once(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    os._exit(0)


def main() -> int:
    """Run the command line and give its exit code."""
    # Until a command takes signals over (lanner.signals) there is nothing to put away. An exception instead could
    # strike where Python swallows it, and in exec() makes CPython end by the signal whatever is done about it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave_at_once)
    from lanner.cli.main import run_command_line  # noqa: PLC0415

    return run_command_line()


if __name__ == "__main__":
    sys.exit(main())
