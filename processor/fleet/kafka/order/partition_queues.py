"""The messages of each owned partition that wait for its task."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any


class PartitionQueues:
    """One bounded queue for each owned partition, filled by one reader of all of them."""

    def __init__(self, most: int) -> None:
        """Own none. most: messages that may wait in each."""
        self._most = most
        self._queues: dict[int, asyncio.Queue[Any]] = {}

    def open(self, partitions: Iterable[int]) -> Mapping[int, "asyncio.Queue[Any]"]:
        """Own these partitions instead of the former ones; return their queues."""
        self.close()
        self._queues = {partition: asyncio.Queue(self._most) for partition in partitions}
        return self._queues

    def owns(self, partition: int) -> bool:
        """Return whether a partition is owned."""
        return partition in self._queues

    def is_empty(self, partition: int) -> bool:
        """Return whether nothing waits in an owned partition."""
        return self._queues[partition].empty()

    async def put(self, partition: int, message: Any) -> None:
        """Wait for room in the queue of an owned partition, unless the partition goes first."""
        await self._queues[partition].put(message)

    def end(self) -> None:
        """Put None behind what waits, as far as there is room."""
        for queue in self._queues.values():
            if not queue.full():
                queue.put_nowait(None)

    def close(self) -> None:
        """Own none. Whoever waits for room in a queue that nobody reads would wait forever: it is emptied."""
        for queue in self._queues.values():
            while not queue.empty():
                queue.get_nowait()
        self._queues = {}
