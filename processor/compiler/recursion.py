"""Room for deep conditions: a tree may be a thousand levels deep, Python's default limit is below that."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_LIMIT = 30_000

EXPRESSION_DEPTH = 30
"""Levels of a tree that become one Python expression; Python's own parser ends at 200 parentheses."""


@contextmanager
def deep() -> Iterator[None]:
    """Raise the recursion limit for as long as a tree is walked."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _LIMIT))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
