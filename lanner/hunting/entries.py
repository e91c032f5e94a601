"""Which entries of lists of indicators were searched for, as hashes: eight bytes an entry, without a feed's content."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_BYTES = 8
MAX_BYTES = 8 << 20
"""The size of a million entries."""


def _hashed(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest()


class KnownEntries:
    """A set of entries."""

    def __init__(self, data: bytes = b"") -> None:
        """Take what `data` returned. Raises ValueError if it isn't that."""
        if len(data) % _BYTES or len(data) > MAX_BYTES:
            raise ValueError("it has not the size of hashes")
        self._hashes: NDArray[np.uint64] = np.unique(np.frombuffer(data, np.uint64))

    @classmethod
    def of(cls, texts: Iterable[str]) -> "KnownEntries":
        """Return the set of some entries."""
        return cls(b"".join(map(_hashed, texts)))

    def __len__(self) -> int:
        return len(self._hashes)

    @property
    def data(self) -> bytes:
        """The hashes."""
        return self._hashes.tobytes()

    def has(self, text: str) -> bool:
        """Return whether an entry is in the set."""
        value = np.frombuffer(_hashed(text), np.uint64)[0]
        at = int(np.searchsorted(self._hashes, value))
        return at < len(self._hashes) and bool(self._hashes[at] == value)

    def without(self, others: "KnownEntries") -> int:
        """Return how many entries are not among others."""
        return len(np.setdiff1d(self._hashes, others._hashes, assume_unique=True))  # noqa: SLF001  the same class


@dataclass(frozen=True, slots=True)
class NewEntries:
    """What is new of a list. An entry that came after the search began is for the next one."""

    known: KnownEntries
    """The entries that were searched for before."""
    pending: KnownEntries
    """All entries when the search began."""

    def is_new(self, text: str) -> bool:
        """Return whether an entry is searched for."""
        return self.pending.has(text) and not self.known.has(text)

    def was_known(self, text: str) -> bool:
        """Return whether an entry was there before."""
        return self.known.has(text)

    def counts(self, text: str) -> bool:
        """Return whether an entry was there when the search began."""
        return self.known.has(text) or self.pending.has(text)

    @property
    def count(self) -> int:
        """The number of new entries."""
        return self.pending.without(self.known)
