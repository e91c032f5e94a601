"""Waits for conditions."""

import time
from collections.abc import Callable


def wait(condition: Callable[[], bool], seconds: float) -> None:
    """Wait, with a limit."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.05)
