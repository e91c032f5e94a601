"""`lanner`, whose processor dies as by a power cut: `dying_processor.py POINT:N ARGUMENTS`.

It dies the Nth time it comes to a point; `POINT:N:STOP` has it hang there until it is told to go on.
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


def dies_at(asked: str) -> Callable[[str], None]:
    """Return what is called with the name of each point."""
    point, _, rest = asked.partition(":")
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
