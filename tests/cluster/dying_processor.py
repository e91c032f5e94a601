"""Run `lanner` with a processor that is killed at a point. Usage: dying_processor.py POINT:N ARGUMENTS.

It is killed at the Nth time that it reaches the point; with `POINT:N:STOP` it is stopped there until SIGCONT.
"""

import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from lanner.__main__ import main
from processor.fleet import worker

PROGRAM = str(Path(__file__))


def dies_at(chosen_point: str) -> Callable[[str], None]:
    """Return a callback that receives the name of each point."""
    point, _, rest = chosen_point.partition(":")
    number, _, how = rest.partition(":")
    left = int(number)

    def at(name: str) -> None:
        nonlocal left
        if name == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGSTOP if how == "STOP" else signal.SIGKILL)

    return at


if __name__ == "__main__":
    worker.run_processor = functools.partial(worker.run_processor, at=dies_at(sys.argv.pop(1)))  # type: ignore[assignment]
    sys.exit(main())
