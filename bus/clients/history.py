"""Read a range of a topic's existing messages: from one offset to another in each partition."""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from bus.clients.errors import ClientErrors, unavailable
from bus.clients.readers import SilenceTimeout, forbids_reading, make_consumer, offsets_at, partitions_of, watermarks
from bus.connection import Connection

_POLL_SECONDS = 0.2
_AT_ONCE = 500
"""Messages taken from the client at once; it limits the bytes that it fetches ahead."""
_FETCHES = {"fetch.message.max.bytes": 256 << 10, "fetch.wait.max.ms": 10}
"""Small, because what is fetched beyond a bound is decompressed in vain. A request that waits at the end of a partition
delays the next range, which often begins then."""
_PAUSE_AT = 200
"""Buffered messages of one partition at which reading it is paused, in read_in_order."""
_RESUME_AT = 50

Bounds = dict[int, tuple[int, int]]
"""By partition, the first offset and the offset after the last."""


class TopicHistory:
    """The messages that a topic contains now; later ones are not read."""

    def __init__(self, connection: Connection, topic: str) -> None:
        """Find the bounds of each partition.

        Args:
            connection: the broker.
            topic: full name.

        Raises:
            BusUnavailable: the broker is unavailable, or there is no such topic.
        """
        self._connection = connection
        self._topic = topic
        self._client_errors = ClientErrors(connection)
        self._silence = SilenceTimeout(connection)
        self._paused: set[int] = set()
        self._consumer: Consumer = make_consumer(connection, "lanner-past", self._client_errors, options=_FETCHES)
        try:
            numbers = partitions_of(self._consumer, self._client_errors, topic)
            self.available: Bounds = {
                number: watermarks(self._consumer, self._client_errors, topic, number) for number in numbers
            }
            """The bounds of the messages that the topic contains."""
        except BaseException:
            self._consumer.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def since(self, time: int, partitions: Iterable[int] | None = None) -> dict[int, int]:
        """Return, by partition, the first offset that was appended at a time or later. time: ms since the epoch."""
        times = dict.fromkeys(self.available if partitions is None else partitions, max(time, 0))
        if not times:
            return {}
        return {
            each.partition: each.offset if each.offset >= 0 else self.available[each.partition][1]
            for each in offsets_at(self._consumer, self._client_errors, self._topic, times)
            if each.partition in self.available
        }

    def between(self, since: int, until: int | None, partitions: Iterable[int] | None = None) -> Bounds:
        """Return the bounds of the messages that were appended in a time range.

        Args:
            since: start of the range, ms since the epoch.
            until: end of the range, exclusive; None for everything from the start on.
            partitions: the partitions; None for all.
        """
        starts = self.since(since, partitions)
        ends = {} if until is None else self.since(until, partitions)
        return {number: (start, ends.get(number, self.available[number][1])) for number, start in starts.items()}

    def read(self, bounds: Mapping[int, tuple[int, int]], stop: Callable[[], bool]) -> Iterator[Message]:
        """Yield the messages within bounds, in order within a partition; `unread` has the unfinished partitions.

        Args:
            bounds: what to read.
            stop: called between polls; return True to end early.

        Raises:
            BusUnavailable: the broker is unavailable, or reading is forbidden.
        """
        self.unread = self._assign(bounds)
        while self.unread and not stop():
            yield from self._block()

    def read_in_order(self, bounds: Mapping[int, tuple[int, int]], stop: Callable[[], bool]) -> Iterator[Message]:
        """Yield the messages of all partitions in the order of their timestamps, with bounded memory.

        Arguments and errors are those of read.
        """
        self.unread = self._assign(bounds)
        held: dict[int, deque[Message]] = {number: deque() for number in self.unread}
        heads: list[tuple[int, int]] = []
        while (heads or self.unread) and not stop():
            if all(held[number] for number in self.unread) and heads:
                _, number = heapq.heappop(heads)
                waiting = held[number]
                message = waiting.popleft()
                if waiting:
                    heapq.heappush(heads, (stamp_of(waiting[0]), number))
                if number in self._paused and len(waiting) <= _RESUME_AT:
                    self._resume({number})
                yield message
                continue
            for found in self._block():
                number = found.partition() or 0
                held[number].append(found)
                if len(held[number]) == 1:
                    heapq.heappush(heads, (stamp_of(found), number))
                if len(held[number]) >= _PAUSE_AT and number in self.unread and number not in self._paused:
                    self._paused.add(number)
                    self._consumer.pause([TopicPartition(self._topic, number)])

    def _assign(self, bounds: Mapping[int, tuple[int, int]]) -> set[int]:
        self._ends = {}
        starts = []
        for number, (start, end) in bounds.items():
            low, high = self.available[number]
            first, last = max(start, low), min(end, high)
            if first < last:
                self._ends[number] = last
                starts.append(TopicPartition(self._topic, number, first))
        # The client keeps a partition paused when it is assigned again, and may ignore a resumption right after that.
        self._resume(self._paused)
        self._consumer.assign(starts)
        self._silence.heard()
        return set(self._ends)

    def _resume(self, numbers: set[int]) -> None:
        self._consumer.resume([TopicPartition(self._topic, number) for number in numbers])
        self._paused -= numbers

    def _block(self) -> Iterator[Message]:
        """Yield the messages within bounds that have arrived; wait a little if there are none."""
        arrived: Sequence[Message | None] = self._consumer.consume(_AT_ONCE, 0)
        for message in arrived or (self._consumer.poll(_POLL_SECONDS),):
            if message is None:
                self._silence.nothing()
                return
            number, offset, error = message.partition() or 0, message.offset() or 0, message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the client's own name for it
                    # The end may come before the bound, if messages were deleted since.
                    self.unread.discard(number)
                elif forbids_reading(error):
                    raise unavailable(self._connection, error)
            elif number in self.unread:
                if offset >= self._ends[number] - 1:
                    self._end(number)
                if offset < self._ends[number]:
                    yield message
        self._silence.heard()

    def _end(self, number: int) -> None:
        """End a partition; what the client has fetched of it beyond the bound is dropped there."""
        self.unread.discard(number)
        self._resume(self._paused & {number})
        if self.unread:
            self._consumer.incremental_unassign([TopicPartition(self._topic, number)])


def stamp_of(message: Message) -> int:
    """Return a message's timestamp: append time, or create time on topics with CreateTime; ms since the epoch."""
    return message.timestamp()[1]
