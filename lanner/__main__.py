"""Where the program begins: it can be stopped from its first moment on without a word."""

import os
import signal
import sys
from types import FrameType


def _leave_at_once(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    os._exit(0)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise KeyboardInterrupt


def main() -> int:
    """Run the command line and give its exit code."""
    # While modules are imported there is nothing to clean up; from then on a command cleans up after itself.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave_at_once)
    from lanner.ending import run_command_line  # noqa: PLC0415

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    return run_command_line()


if __name__ == "__main__":
    sys.exit(main())
