"""Which messages of a partition are done with, without a hole.

Faust commits a position one too far where a message is acknowledged while the one before it is not (its check takes
a hole of one for none), so acknowledgements leave here in order only.
"""

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class AckOrder(Generic[Item]):
    """One partition's messages that were begun, oldest first."""

    def __init__(self) -> None:
        self._begun: deque[Item] = deque()
        self._done: set[Item] = set()

    def __len__(self) -> int:
        return len(self._begun)

    def begin(self, item: Item) -> None:
        """Take note that work on an item has begun; items begin in order."""
        self._begun.append(item)

    def finish(self, item: Item) -> list[Item]:
        """Take note that an item is done with.

        Returns:
            The items that may be acknowledged now, in order.
        """
        self._done.add(item)
        ready = []
        while self._begun and self._begun[0] in self._done:
            first = self._begun.popleft()
            self._done.discard(first)
            ready.append(first)
        return ready
