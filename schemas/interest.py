"""Interest: which opens of files could matter to any rule, in words that the kernel side can judge by.

The processor derives it from the compiled rules, the collector puts it into maps. It may only err on the side of
passing: an open that a rule could match is never left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

READ, WRITE, CREATE, FAILED = 1, 2, 4, 8
CLASSES = 16
"""Classes of an open: each combination of the four bits above."""

MASK_BITS = 256
"""Bits of a mask: one a way in which an open could matter; beyond that, ways share bits."""

MAX_PREFIX = 120
"""Bytes of a path that a prefix is judged by; a NUL at the end of a prefix means that the path ends there."""

MAX_SUFFIX = 32


@dataclass(frozen=True, slots=True)
class Interest:
    """One version of it. A mask is an int whose bit n is the n-th way to matter."""

    classes: Mapping[str, tuple[int, ...]]
    """By event type, CLASSES masks: the ways that are possible for an open of that class."""
    anywhere: int
    """Ways that don't depend on the path."""
    prefixes: Mapping[bytes, int]
    """Ways that need a path that begins so."""
    suffixes: Mapping[bytes, int]
    """Ways that need a path that ends so."""
