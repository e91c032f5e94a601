"""Waiting for what comes."""

import time
from collections.abc import Callable


def wait(condition: Callable[[], bool], seconds: float) -> None:
    """Wait, within bounds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.05)
