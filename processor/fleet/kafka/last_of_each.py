"""The last item of each key of a stream, within a number of bytes."""

from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class LastOfEach(Generic[Item]):
    """Holds the last item of each key; items that no longer fit are returned at once, in order within a key."""

    def __init__(self, most_bytes: int, overhead: int = 256) -> None:
        """Hold nothing.

        Args:
            most_bytes: of all items that are held.
            overhead: bytes that an item counts besides its own.
        """
        self._most = most_bytes
        self._overhead = overhead
        self._held: dict[bytes, tuple[Item, int]] = {}
        self._bytes = 0

    def put(self, key: bytes, item: Item, size: int) -> Iterator[Item]:
        """Store an item in place of the one before it.

        Args:
            key: of the item.
            item: the newest.
            size: bytes of it.

        Returns:
            Those that have to be looked at now, since no more can be held.
        """
        _, before = self._held.pop(key, (None, 0))
        needed = size + len(key) + self._overhead
        self._held[key] = item, needed
        self._bytes += needed - before
        return self.take_all() if self._bytes > self._most else iter(())

    def take_all(self) -> Iterator[Item]:
        """Remove and return all stored items."""
        held, self._held, self._bytes = self._held, {}, 0
        return (item for item, _ in held.values())
