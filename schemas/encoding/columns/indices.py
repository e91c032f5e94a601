"""Whether columns of indices point into their table: what a batch's decoding spends most of its checking on."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

_LIMIT_BITS = 20
MAX_LIMIT = 1 << _LIMIT_BITS
_BLOCK_BITS = 15
"""1,024 numbers of 32 bits."""
_KEPT_BLOCKS = 48
"""Masks for so many blocks are kept, 10 MB in all; a collector's batch has about 17. A larger one, which a host that is
taken over may send, has its masks made for it alone."""


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


def check_steps(raw: bytes, most: int) -> None:
    """Check that a column of u32 starts with 0 and goes up by steps of less than most.

    All of it at once, as one huge number, which takes a third of the time that a look at each does.

    Args:
        raw: the column, little-endian, of at least one number.
        most: the first step that is too large; a power of two.

    Raises:
        ValueError: it goes back, or up by more.
    """
    if any(raw[:4]):
        raise ValueError("begins behind 0")
    size = len(raw) - 4
    before, after = int.from_bytes(raw[:size], "little"), int.from_bytes(raw[4:], "little")
    top = int.from_bytes((b"\0\0\0\x80") * (size // 4), "little")
    if (before | after) & top:
        raise ValueError("has a number that is too large")
    # The top bit of each keeps a step backwards from borrowing of its neighbour, and is gone where there was one.
    steps = ((after | top) - before) ^ top
    too_large = (1 << 32) - most
    if steps & int.from_bytes(too_large.to_bytes(4, "little") * (size // 4), "little"):
        raise ValueError("goes backwards, or has too large a step")


def _lanes(blocks: int) -> tuple[int, int]:
    """Give the high bits, and bit 0, of every number of so many blocks."""
    return _kept_lanes(blocks) if blocks <= _KEPT_BLOCKS else _made_lanes(blocks)


def _made_lanes(blocks: int) -> tuple[int, int]:
    count = blocks << _BLOCK_BITS - 5
    high = (1 << 32) - MAX_LIMIT
    return int.from_bytes(high.to_bytes(4, "little") * count, "little"), int.from_bytes(b"\1\0\0\0" * count, "little")


_kept_lanes = lru_cache(maxsize=_KEPT_BLOCKS)(_made_lanes)
