"""The retained events of a fleet, in portions of the broker's time."""

from collections.abc import Callable, Iterator

from bus.clients.history import TopicHistory
from bus.clients.reachability import check_reachable
from bus.connection import Connection
from bus.topics import EVENTS
from lanner.recorder.batches import StoredBatch, from_message
from lanner.recorder.search.events import EventPortion
from lanner.recorder.topic.messages import reader_of_values
from schemas.codec import BadBatch
from schemas.text.counts import count_of
from schemas.text.times import date_and_time_seconds

_FIRST_MS = 60_000
_LONGEST_MS = 64 * _FIRST_MS
"""Each portion is twice as long as the one before it: the newest events are shown soon, old ones read in few steps."""
_REACH_SECONDS = 1.0


class TopicEvents:
    """The batches that were appended between two times."""

    def __init__(self, connection: Connection, since: int, until: int) -> None:
        """Find their offsets. since, until: ms since the epoch. Raises BusUnavailable, soon if no broker is there."""
        check_reachable(connection, _REACH_SECONDS)
        self.bytes = 0
        self.remarks: list[str] = []
        self._value = reader_of_values(connection)
        self._past = TopicHistory(connection, connection.topic(EVENTS))
        self._range = since, until
        self._total = self._done = self._unreadable = 0

    @property
    def share(self) -> float:
        """How much of it has been read, from 0 to 1."""
        return min(self._done / self._total, 1.0) if self._total else 0.0

    def portions(self, stop: Callable[[], bool]) -> Iterator[EventPortion]:
        """Yield the portions, newest first; stop is called between messages."""
        since, until = self._range
        self._total = sum(end - start for start, end in self._past.between(since, until).values())
        oldest = {number: low for number, (low, _) in self._past.available.items()}
        ends = self._past.since(until)
        length = _FIRST_MS
        while until > since and not stop():
            start = max(until - length, since)
            starts = self._past.since(start)
            bounds = {number: (first, ends[number]) for number, first in starts.items()}
            yield EventPortion(start, self._batches(bounds, stop))
            if start > since and all(first <= oldest[number] for number, first in starts.items()):
                if any(oldest.values()):
                    when = date_and_time_seconds(start * 1_000_000)
                    self.remarks.append(f"Events before about {when} are no longer retained.")
                break
            until, ends, length = start, starts, min(2 * length, _LONGEST_MS)
        if self._unreadable:
            self.remarks.append(f"{count_of(self._unreadable, 'message')} could not be read as events.")

    def close(self) -> None:
        """Close the connection."""
        self._past.close()

    def _batches(self, bounds: dict[int, tuple[int, int]], stop: Callable[[], bool]) -> Iterator[StoredBatch]:
        for message in self._past.read(bounds, stop):
            self._done += 1
            self.bytes += len(message.value() or b"")
            try:
                yield from_message(message, self._value(message))
            except BadBatch:
                # The processor dead-letters it.
                self._unreadable += 1
