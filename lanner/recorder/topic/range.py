"""All retained batches of a fleet in a time range, in the order of the broker."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bus.clients.history import TopicHistory, stamp_of
from bus.connection import Connection
from bus.topics import EVENTS
from lanner.cli.terminal.output import note
from lanner.recorder.batches import StoredBatch, from_message
from lanner.recorder.topic.messages import reader_of_values
from schemas.codec import BadBatch
from schemas.text.times import date_and_time_seconds


class TopicRange:
    """The batches that were appended between two times."""

    def __init__(self, connection: Connection, since: int, until: int | None) -> None:
        """Find their offsets; raises BusUnavailable. since, until: ms since the epoch."""
        self._value = reader_of_values(connection)
        self._past = TopicHistory(connection, connection.topic(EVENTS))
        self._bounds = self._past.between(since, until)
        self._since = since
        self.total = sum(end - start for start, end in self._bounds.values())
        """Batches, estimated."""
        self.done = 0
        self.unreadable = 0
        """Messages that aren't valid batches; the processor dead-letters them."""
        self.remarks: list[str] = []

    def batches(self, selects: Callable[[StoredBatch], bool], stop: Callable[[], bool]) -> Iterator[StoredBatch]:
        """Yield them in the order of the broker; stop is called between them, True ends the iteration."""
        retained_since: Mapping[int, int] = {number: low for number, (low, _) in self._past.available.items()}
        oldest: int | None = None
        try:
            for message in self._past.read_in_order(self._bounds, stop):
                self.done += 1
                if message.offset() == retained_since[message.partition() or 0] != 0:
                    oldest = max(oldest or 0, stamp_of(message))
                found = self._read(message)
                if found is not None and selects(found):
                    yield found
        finally:
            self._past.close()
        if oldest is not None and oldest > self._since:
            when = date_and_time_seconds(oldest * 1_000_000)
            self.remarks.append(f"events before {when} are no longer complete")
        if self.unreadable:
            self.remarks.append(f"{self.unreadable:,} messages were not valid event batches")

    def _read(self, message: Any) -> StoredBatch | None:
        try:
            return from_message(message, self._value(message))
        except BadBatch as error:
            if not self.unreadable:
                note(f"{message.topic()}[{message.partition()}] at {message.offset()}: {error}.")
            self.unreadable += 1
            return None
