"""Recursion limits: a tree can be a thousand levels deep, which exceeds Python's default limit."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_LIMIT = 30_000

EXPRESSION_DEPTH = 30
"""Levels of a tree per Python expression; Python's own parser allows 200 nested parentheses."""


@contextmanager
def deep() -> Iterator[None]:
    """Raise the recursion limit while a tree is walked."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _LIMIT))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
