"""Functions of a text whose results are remembered, within a bound of bytes.

Texts are chosen by whoever acts on a host: a cache of so many entries alone could be filled with long ones.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

Result = TypeVar("Result")
LONGEST = 256
"""Characters of a text that is remembered."""


def remembered(most: int) -> Callable[[Callable[[str], Result]], Callable[[str], Result]]:
    """Make a decorator that remembers a function's newest results, those of short texts only.

    Args:
        most: results.
    """

    def decorate(function: Callable[[str], Result]) -> Callable[[str], Result]:
        known = lru_cache(most)(function)

        @wraps(function)
        def look(text: str) -> Result:
            return known(text) if len(text) <= LONGEST else function(text)

        return look

    return decorate
