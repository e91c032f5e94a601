"""A mapping and a set that drop their oldest entries, so that memory does not grow with what hosts send."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedMap(Generic[K, V]):
    """A mapping that holds the most recently put entries, up to a limit."""

    def __init__(self, limit: int) -> None:
        """Create an empty mapping that holds at most `limit` entries."""
        self._limit = limit
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def get(self, key: K) -> V | None:
        """Return the value of a key, or None."""
        return self._entries.get(key)

    def put(self, key: K, value: V) -> None:
        """Store a value as the newest entry; drop the oldest entry if there are too many."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def pop(self, key: K) -> V | None:
        """Remove a key and return its value, or None."""
        return self._entries.pop(key, None)


class SizedMap(Generic[K, V]):
    """A mapping that holds the most recently put entries, up to a number and up to a size of all together."""

    def __init__(self, limit: int, most: int) -> None:
        """Create an empty mapping that holds at most `limit` entries, whose sizes are at most `most` in total."""
        self._limit = limit
        self._left = most
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def get(self, key: K) -> V | None:
        """Return the value of a key, or None."""
        found = self._entries.get(key)
        return None if found is None else found[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Store a value as the newest entry; drop the oldest entries if all are too many or too large."""
        self.pop(key)
        self._entries[key] = (value, size)
        self._left -= size
        while self._left < 0 or len(self._entries) > self._limit:
            self._left += self._entries.popitem(last=False)[1][1]

    def pop(self, key: K) -> V | None:
        """Remove a key and return its value, or None."""
        found = self._entries.pop(key, None)
        if found is None:
            return None
        self._left += found[1]
        return found[0]


class BoundedSet(Generic[K]):
    """A set that holds the most recently added keys, up to a limit; used to drop duplicates."""

    def __init__(self, limit: int) -> None:
        """Create an empty set that holds at most `limit` keys."""
        self._limit = limit
        self._keys: dict[K, None] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: K) -> bool:
        """Add a key; drop the oldest key if there are too many.

        Returns:
            Whether the key was new. A key that is already there keeps its age.
        """
        if key in self._keys:
            return False
        self._keys[key] = None
        if len(self._keys) > self._limit:
            del self._keys[next(iter(self._keys))]
        return True
