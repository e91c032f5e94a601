"""Recursion limits: a tree can be a thousand levels deep, which exceeds Python's default limit."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LIMIT = 30_000

EXPRESSION_DEPTH = 30
"""Levels of a tree per Python expression; Python's own parser allows 200 nested parentheses."""


@contextmanager
def deep() -> Iterator[None]:
    """Raise the recursion limit while a tree is walked, on any number of threads."""
    _RAISED.enter()
    try:
        yield
    finally:
        _RAISED.leave()


class _RaisedLimit:
    """The limit is one for all threads: the first to need more raises it, and the last one restores it.

    If each restored what it found, two that overlap could leave it raised, and what relies on it, such as the decoding
    of JSON, would accept more levels from then on.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = 0

    def enter(self) -> None:
        """Raise the limit for one more user."""
        with self._lock:
            if not self._users:
                self._before = sys.getrecursionlimit()
                sys.setrecursionlimit(max(self._before, _LIMIT))
            self._users += 1

    def leave(self) -> None:
        """Restore the limit if this was the last user."""
        with self._lock:
            self._users -= 1
            if not self._users:
                sys.setrecursionlimit(self._before)


_RAISED = _RaisedLimit()
