"""Reads earlier messages of a topic that hosts write to, within decompression limits.

librdkafka, which reads all other topic history, decompresses without a limit and fetches all partitions at
once. Here one partition is fetched at a time, by the client whose fetches are bounded.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Any, Generic, Self, TypeVar

import aiokafka
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from bus.connection import BusUnavailable, Connection
from processor.fleet.kafka.consumer_thread import unavailable
from processor.fleet.kafka.fetched import use_bounded_records
from processor.fleet.kafka.transport import client_options

Item = TypeVar("Item")


class LastOfEach(Generic[Item]):
    """Stores the last item of each key; items that no longer fit are returned at once, in order within a key."""

    def __init__(self, most_bytes: int, overhead: int = 256) -> None:
        """Begin with nothing. most_bytes: of all stored items; overhead: bytes that an item also counts."""
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
            Those that have to be looked at now, since no more can be stored.
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


_FETCH_BYTES = 1 << 20
_FETCH_WAIT_MS = 100
_AT_ONCE = 500
"""Messages taken from the client at once. They are parts of one fetch, whose size is limited."""
_SILENCE_SECONDS = 30.0
"""Seconds without an answer from a broker that owes messages, after which it counts as unavailable."""


class PastEvents:
    """One topic, read by a client without a group. Every call raises BusUnavailable if a broker is unavailable."""

    def __init__(self, connection: Connection, topic: str) -> None:
        """Begin; nothing is connected. topic: full name."""
        use_bounded_records()
        self._topic = topic
        self._client = aiokafka.AIOKafkaConsumer(
            client_id="lanner-look-back",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            **client_options(connection),
        )
        self.reached: dict[int, int] = {}
        """By partition, the offset after the last message that was read or found missing."""

    async def __aenter__(self) -> Self:
        try:
            await self._answer(self._client.start())
        except BusUnavailable:
            await self._client.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.stop()

    async def begins(self, partitions: Iterable[int]) -> dict[int, int]:
        """Return the first offset of each partition."""
        requested = [TopicPartition(self._topic, number) for number in partitions]
        found = await self._answer(self._client.beginning_offsets(requested))
        return {each.partition: offset for each, offset in found.items()}

    async def since(self, partition: int, time_ms: int) -> int | None:
        """Return the first offset appended at a time (ms) or later; None if there is none."""
        requested = TopicPartition(self._topic, partition)
        found = (await self._answer(self._client.offsets_for_times({requested: max(time_ms, 0)})))[requested]
        return None if found is None else int(found.offset)

    async def read(self, partition: int, start: int, end: int, stop: Callable[[], bool]) -> AsyncGenerator[Any]:
        """Yield the messages between two offsets, as aiokafka records; `reached` is the offset that was reached.

        Args:
            partition: its number.
            start: the first offset.
            end: the offset after the last one, which the partition must have reached.
            stop: called between two messages; ends the reading early.
        """
        self.reached[partition] = start
        if start >= end:
            return
        assigned = TopicPartition(self._topic, partition)
        self._client.assign([assigned])
        self._client.seek(assigned, start)
        heard = time.monotonic()
        while self.reached[partition] < end and not stop():
            found = await self._answer(self._client.getmany(assigned, timeout_ms=_FETCH_WAIT_MS, max_records=_AT_ONCE))
            for record in found.get(assigned, ()):
                if record.offset >= end:
                    break
                if stop():
                    return
                heard = time.monotonic()
                self.reached[partition] = record.offset + 1
                yield record
            # Also continues at offsets without a message.
            self.reached[partition] = max(self.reached[partition], await self._answer(self._client.position(assigned)))
            if time.monotonic() - heard > _SILENCE_SECONDS:
                raise unavailable(TimeoutError(f"no message of topic {self._topic} arrived"))

    async def first(self, partition: int, start: int, end: int) -> Any:
        """Return the first message from an offset on and before another one; None if there is none."""
        async with aclosing(self.read(partition, start, end, lambda: False)) as records:
            async for record in records:
                return record
        return None

    async def newest(self, topic: str, partitions: Iterable[int], count: int) -> dict[int, list[Any]]:
        """Return the newest messages of each partition of another topic, oldest first, as aiokafka records.

        Args:
            topic: full name; nothing deletes single messages of it, and its messages are small.
            partitions: their numbers; those without a message are missing in the result.
            count: the most messages of a partition.
        """
        assigned = [TopicPartition(topic, number) for number in partitions]
        begins = await self._answer(self._client.beginning_offsets(assigned))
        ends = await self._answer(self._client.end_offsets(assigned))
        unread = {each for each in assigned if begins[each] < ends[each]}
        self._client.assign(list(unread))
        for each in unread:
            self._client.seek(each, max(begins[each], ends[each] - count))
        found: dict[int, list[Any]] = {}
        heard = time.monotonic()
        while unread:
            for each, records in (await self._answer(self._client.getmany(*unread, timeout_ms=_FETCH_WAIT_MS))).items():
                heard = time.monotonic()
                found.setdefault(each.partition, []).extend(records)
                if records[-1].offset >= ends[each] - 1:
                    unread.discard(each)
            if time.monotonic() - heard > _SILENCE_SECONDS:
                raise unavailable(TimeoutError(f"no message of topic {topic} arrived"))
        return found

    @staticmethod
    async def _answer(answer: Any) -> Any:
        try:
            async with asyncio.timeout(_SILENCE_SECONDS):
                return await answer
        except (KafkaError, TimeoutError) as error:
            raise unavailable(error) from None
