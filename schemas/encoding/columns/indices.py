"""Check that columns of indices stay within their table; most of the time for checking a batch is spent here."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

_LIMIT_BITS = 20
MAX_LIMIT = 1 << _LIMIT_BITS
_BLOCK_BITS = 15
"""1,024 numbers of 32 bits."""
_CACHED_BLOCKS = 48
"""Masks for up to this many blocks are cached, 10 MB in total; a collector's batch has about 17 blocks. For a larger
batch, which a compromised host may send, the masks are computed each time."""


def check_below(limit: int, columns: Mapping[str, bytes], names: Sequence[str], prefix: str = "") -> None:
    """Check that columns of i32 hold only numbers from 0 to limit - 1.

    All columns are checked at once, as one huge integer: for 13,000 indices this takes a third of the time of max.

    Args:
        limit: the first number that is too large, at most MAX_LIMIT.
        columns: columns by name, little-endian.
        names: the columns to check.
        prefix: put before a column's name in the error message.

    Raises:
        ValueError: a column holds another number; the message names the column.
    """
    joined = int.from_bytes(b"".join([columns[name] for name in names]), "little")
    high, ones = _lanes((joined.bit_length() >> _BLOCK_BITS) + 1)
    # Add MAX_LIMIT - limit to each number: one at or above the limit then has a high bit. A carry into the neighbor
    # is possible only from a number that had a high bit before.
    if (joined | joined + ones * (MAX_LIMIT - limit)) & high:
        wrong = next(name for name in names if max(memoryview(columns[name]).cast("I"), default=0) >= limit)
        raise ValueError(f"column {prefix}{wrong} points outside its table")


def check_steps(raw: bytes, most: int) -> None:
    """Check that a column of u32 starts with 0 and never decreases, and that each step is less than most.

    The whole column is checked at once, as one huge integer, which takes a third of the time of a loop.

    Args:
        raw: the column, little-endian, of at least one number.
        most: the first step that is too large; a power of two.

    Raises:
        ValueError: a step is negative or too large.
    """
    if any(raw[:4]):
        raise ValueError("does not begin with 0")
    size = len(raw) - 4
    before, after = int.from_bytes(raw[:size], "little"), int.from_bytes(raw[4:], "little")
    top = int.from_bytes((b"\0\0\0\x80") * (size // 4), "little")
    if (before | after) & top:
        raise ValueError("has a number that is too large")
    # The top bit of each number keeps a negative step from borrowing from its neighbor, and is clear after one.
    steps = ((after | top) - before) ^ top
    too_large = (1 << 32) - most
    if steps & int.from_bytes(too_large.to_bytes(4, "little") * (size // 4), "little"):
        raise ValueError("decreases, or has too large a step")


def _lanes(blocks: int) -> tuple[int, int]:
    """Return the high bits, and bit 0, of every number of so many blocks."""
    return _cached_lanes(blocks) if blocks <= _CACHED_BLOCKS else _compute_lanes(blocks)


def _compute_lanes(blocks: int) -> tuple[int, int]:
    count = blocks << _BLOCK_BITS - 5
    high = (1 << 32) - MAX_LIMIT
    return int.from_bytes(high.to_bytes(4, "little") * count, "little"), int.from_bytes(b"\1\0\0\0" * count, "little")


_cached_lanes = lru_cache(maxsize=_CACHED_BLOCKS)(_compute_lanes)
