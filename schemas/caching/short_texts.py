"""A decorator that caches the results of a function of one string, with a limit on bytes.

A host chooses the strings: a cache that is limited by the number of entries alone could be filled with long ones.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

Result = TypeVar("Result")
LONGEST = 256
"""Characters of the longest string whose result is cached."""


def cache_short_texts(entries: int) -> Callable[[Callable[[str], Result]], Callable[[str], Result]]:
    """Return a decorator that caches the most recent results of a function, for short strings only.

    Args:
        entries: the most results to cache.
    """

    def decorate(function: Callable[[str], Result]) -> Callable[[str], Result]:
        cached = lru_cache(entries)(function)

        @wraps(function)
        def look_up(text: str) -> Result:
            return cached(text) if len(text) <= LONGEST else function(text)

        return look_up

    return decorate
