"""Mappings and a set that drop their oldest entries, so that memory does not grow with the messages of hosts."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache, wraps
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

NEWCOMERS = ""
"""The account of all hosts that are new."""


class GroupAccounts(Generic[Key]):
    """Keys by account, each account's in the order in which they were touched last."""

    def __init__(self) -> None:
        self._keys: dict[str, OrderedDict[Key, None]] = {}
        self._by_size: dict[int, dict[str, None]] = {}
        """Accounts by how many keys they have, in the order in which they came to have so many."""
        self._most = 0

    def touch(self, account: str, key: Key) -> None:
        """Make a key the newest of an account, which it may be in already."""
        keys = self._keys.get(account)
        if keys is None:
            keys = self._keys[account] = OrderedDict()
        if key in keys:
            keys.move_to_end(key)
            return
        keys[key] = None
        self._resize(account, len(keys) - 1, len(keys))

    def leave(self, account: str, key: Key) -> None:
        """Take a key out of the account that it is in."""
        keys = self._keys[account]
        del keys[key]
        self._resize(account, len(keys) + 1, len(keys))
        if not keys:
            del self._keys[account]

    def oldest_of_largest(self) -> Key:
        """Return the key that goes first: the oldest of the account that has the most.

        Where several have as many, it is the one that came to it last: who was there before is not pushed out.
        """
        account = next(reversed(self._by_size[self._most]))
        return next(iter(self._keys[account]))

    def _resize(self, account: str, before: int, after: int) -> None:
        if before:
            peers = self._by_size[before]
            del peers[account]
            if not peers:
                del self._by_size[before]
        if after:
            self._by_size.setdefault(after, {})[account] = None
        # Sizes change by one, so where the largest account shrinks alone, it stays the largest.
        if after > self._most or self._most not in self._by_size:
            self._most = after


K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedMap(Generic[K, V]):
    """A mapping of the most recently put entries, up to a limit."""

    def __init__(self, limit: int) -> None:
        """Create an empty mapping that contains at most `limit` entries."""
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
    """A mapping of the most recently put entries, up to a number and up to a size of all together."""

    def __init__(self, limit: int, most: int) -> None:
        """Create an empty mapping that contains at most `limit` entries, whose sizes are at most `most` in total."""
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
    """A set of the most recently added keys, up to a limit; used to drop duplicates."""

    def __init__(self, limit: int) -> None:
        """Create an empty set that contains at most `limit` keys."""
        self._limit = limit
        self._keys: dict[K, None] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: K) -> bool:
        """Add a key; drop the oldest if there are too many. Return whether it was new; a known key keeps its age."""
        if key in self._keys:
            return False
        self._keys[key] = None
        if len(self._keys) > self._limit:
            del self._keys[next(iter(self._keys))]
        return True


Result = TypeVar("Result")
LONGEST = 256
"""Characters of the longest string whose result is cached."""


def cache_short_texts(entries: int) -> Callable[[Callable[[str], Result]], Callable[[str], Result]]:
    """Return a decorator that caches so many of the most recent results of a function, for short strings only."""

    def decorate(function: Callable[[str], Result]) -> Callable[[str], Result]:
        cached = lru_cache(entries)(function)

        @wraps(function)
        def look_up(text: str) -> Result:
            return cached(text) if len(text) <= LONGEST else function(text)

        return look_up

    return decorate
