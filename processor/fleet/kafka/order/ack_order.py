"""Orders the acknowledgements of one partition.

Faust ignores a one-message gap in acknowledged offsets, and would commit too far. So acknowledgements are released in
order only.
"""

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class AckOrder(Generic[Item]):
    """The started messages of one partition, oldest first."""

    def __init__(self) -> None:
        self._begun: deque[Item] = deque()
        self._done: set[Item] = set()

    def __len__(self) -> int:
        return len(self._begun)

    def begin(self, item: Item) -> None:
        """Record that work on an item has started; items start in order."""
        self._begun.append(item)

    def finish(self, item: Item) -> list[Item]:
        """Record that an item is finished.

        Returns:
            The items that can be acknowledged now, in order.
        """
        self._done.add(item)
        ready = []
        while self._begun and self._begun[0] in self._done:
            first = self._begun.popleft()
            self._done.discard(first)
            ready.append(first)
        return ready
