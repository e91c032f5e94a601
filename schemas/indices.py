"""Whether columns of indices point into their table: what a batch's decoding spends most of its checking on."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

_LIMIT_BITS = 20
MAX_LIMIT = 1 << _LIMIT_BITS
_BLOCK_BITS = 15
"""1,024 numbers of 32 bits."""


def check_below(limit: int, columns: Mapping[str, bytes], names: Sequence[str], prefix: str = "") -> None:
    """Check that columns of i32 hold nothing but numbers from 0 on and below a limit.

    All of them at once, as one huge number: of 13,000 indices that takes a third of the time that max does.

    Args:
        limit: the first number that is too much, at most MAX_LIMIT.
        columns: by name, little-endian, each of whole numbers.
        names: those to check.
        prefix: of a column's name in what is raised.

    Raises:
        ValueError: a column holds another number; it is named.
    """
    joined = int.from_bytes(b"".join([columns[name] for name in names]), "little")
    high, ones = _lanes((joined.bit_length() >> _BLOCK_BITS) + 1)
    # To each is added what the limit lacks of MAX_LIMIT: what is at or above the limit has a high bit then. A neighbour
    # is reached only from a number that had a high bit before.
    if (joined | joined + ones * (MAX_LIMIT - limit)) & high:
        wrong = next(name for name in names if max(memoryview(columns[name]).cast("I"), default=0) >= limit)
        raise ValueError(f"column {prefix}{wrong} points outside its table")


@lru_cache(maxsize=16)
def _lanes(blocks: int) -> tuple[int, int]:
    """Give the high bits, and bit 0, of every number of so many blocks."""
    count = blocks << _BLOCK_BITS - 5
    high = (1 << 32) - MAX_LIMIT
    return int.from_bytes(high.to_bytes(4, "little") * count, "little"), int.from_bytes(b"\1\0\0\0" * count, "little")
