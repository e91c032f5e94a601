"""The retained events and alerts of a fleet."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any, Literal

from bus.clients.availability import check_reachable
from bus.clients.history import Bounds, TopicHistory, stamp_of
from bus.connection import Connection
from bus.messages import partition_of
from bus.topics import ALERTS, EVENTS
from foundation.text import OnNote, count_of
from lanner.recorder.store import (
    EARLIER_MS,
    EventPortion,
    EventRange,
    Reading,
    Stop,
    StoredBatch,
    each_readable,
    from_message,
    time_text,
)
from schemas.alert import ALERT_FORMAT, Alert, BadAlert, decode_alert
from schemas.encoding.batch import EVENT_BATCH_FORMAT


def reader_of_values(connection: Connection) -> Callable[[Any], bytes]:
    """Return a function from a message to its value, translated if another release or a registry's schema wrote it.

    Raises BusUnavailable if the registry's settings are wrong; the function does so if a schema is unavailable.
    """
    from bus.clients.writer_schemas import WriterSchemas  # noqa: PLC0415  needs the broker's client

    schemas = WriterSchemas(connection, (ALERT_FORMAT, EVENT_BATCH_FORMAT))
    return lambda message: schemas.translate(message.value() or b"")


def reader_of_alerts(connection: Connection, note: OnNote) -> Callable[[Any], Alert | None]:
    """Return a function from a message to its alert; None, after a note, if it is none. Raises BusUnavailable."""
    value = reader_of_values(connection)

    def read(message: Any) -> Alert | None:
        try:
            return decode_alert(value(message))
        except BadAlert as error:
            note(_unreadable(message, error))
            return None

    return read


def _unreadable(message: Any, error: Exception) -> str:
    return f"{message.topic()}[{message.partition()}] at {message.offset()}: {error}."


_FIRST_MS = 60_000
_LONGEST_MS = 64 * _FIRST_MS
"""Each portion is twice as long as the one before it: the newest events are shown soon, old ones read in few steps."""
_REACH_SECONDS = 1.0
MARGIN_MS = 60_000
"""An alert is published after its event happened; much later if processors lagged."""


class TopicStore:
    """The events and alerts that the topics of a fleet retain."""

    scope: Literal["file", "host", "fleet"] = "fleet"

    def __init__(self, connection: Connection, note: OnNote) -> None:
        """Take the broker. note: receives which messages can't be read. Raises BusUnavailable for wrong settings."""
        self.name = connection.bootstrap_servers
        self._connection = connection
        self._note = note
        self._value = reader_of_values(connection)

    def batches(self, events: EventRange, stop: Stop) -> Reading[StoredBatch]:
        """Return the batches that were appended in a time range; EventStore describes the arguments."""
        return Reading(partial(self._in_order if events.about is None else self._around, events, stop))

    def _in_order(self, events: EventRange, stop: Stop, reading: Reading[StoredBatch]) -> Generator[StoredBatch]:
        past = TopicHistory(self._connection, self._connection.topic(EVENTS))
        oldest = 0

        def messages(bounds: Bounds) -> Iterator[Any]:
            nonlocal oldest
            for message in past.read_in_order(bounds, stop):
                reading.done += 1
                if _is_oldest(message, past.available):
                    oldest = max(oldest, stamp_of(message))
                yield message

        def report(message: Any, error: Exception) -> None:
            if not reading.unreadable:
                self._note(_unreadable(message, error))
            reading.unreadable += 1

        with closing(past):
            bounds = past.between(events.since, events.until)
            reading.total = _count(bounds)
            yield from each_readable(messages(bounds), self._batch, report)
        if oldest > events.since:
            reading.remarks.append(f"events before {time_text(oldest)} are no longer complete")
        if reading.unreadable:
            reading.remarks.append(f"{count_of(reading.unreadable, 'message')} could not be read as events.")

    def _around(self, events: EventRange, stop: Stop, reading: Reading[StoredBatch]) -> Generator[StoredBatch]:
        """Yield the batches of a host, or of all.

        The partition of a host's id is read first. If it has nothing of the host, all are read: the host was named, or
        the number of partitions changed since.
        """
        past = TopicHistory(self._connection, self._connection.topic(EVENTS))
        host = events.host
        key = None if host is None else host.encode("utf-8", "surrogateescape")
        own = [] if key is None else [partition_of(key, len(past.available))]

        def messages(partitions: list[int]) -> Iterator[Any]:
            for message in past.read(past.between(events.since, events.until, partitions), stop):
                reading.done += 1
                if _is_oldest(message, past.available) and stamp_of(message) > events.since:
                    reading.remarks.append(f"Events before {time_text(stamp_of(message))} are no longer retained.")
                if partitions is not own or message.key() == key:
                    yield message

        def report(message: Any, error: Exception) -> None:
            self._note(_unreadable(message, error))
            reading.unreadable += 1

        is_found = False
        with closing(past):
            for partitions in filter(None, (own, list(past.available))):
                for stored in each_readable(messages(partitions), self._batch, report):
                    if host in (None, stored.batch.host_id, stored.batch.hostname):
                        is_found = True
                        yield stored
                if is_found:
                    return

    def portions(self, events: EventRange, stop: Stop) -> Reading[EventPortion]:
        """Return portions of the broker's time, newest first; EventStore describes the arguments."""
        return Reading(partial(self._portions, events, stop))

    def _portions(self, events: EventRange, stop: Stop, reading: Reading[EventPortion]) -> Generator[EventPortion]:
        check_reachable(self._connection, _REACH_SECONDS)
        past = TopicHistory(self._connection, self._connection.topic(EVENTS))

        def messages(bounds: Bounds) -> Iterator[Any]:
            for message in past.read(bounds, stop):
                reading.done += 1
                reading.bytes += len(message.value() or b"")
                yield message

        def report(_: Any, __: Exception) -> None:
            # The processor dead-letters it.
            reading.unreadable += 1

        since, until = events.since, events.until or 0
        with closing(past):
            reading.total = _count(past.between(since, until))
            oldest = {number: low for number, (low, _) in past.available.items()}
            ends = past.since(until)
            length = _FIRST_MS
            while until > since and not stop():
                start = max(until - length, since)
                starts = past.since(start)
                bounds = {number: (first, ends[number]) for number, first in starts.items()}
                yield EventPortion(start, each_readable(messages(bounds), self._batch, report))
                if start > since and all(first <= oldest[number] for number, first in starts.items()):
                    if any(oldest.values()):
                        reading.remarks.append(f"Events before about {time_text(start)} are no longer retained.")
                    break
                until, ends, length = start, starts, min(2 * length, _LONGEST_MS)
        if reading.unreadable:
            reading.remarks.append(f"{count_of(reading.unreadable, 'message')} could not be read as events.")

    def alerts(self, events: EventRange, stop: Stop) -> Iterator[Alert]:
        """Yield alerts in the order in which processors published them, from a little before the time range on.

        EventStore describes the arguments. Without an end, all later ones follow, because processors may have lagged.
        """
        past = TopicHistory(self._connection, self._connection.topic(ALERTS))
        until = None if events.until is None else events.until + MARGIN_MS
        with closing(past):
            bounds = past.between(events.since - MARGIN_MS, until)
            yield from each_readable(past.read_in_order(bounds, stop), self._alert, self._report)

    def alert(self, alert_id: str, near: int, stop: Stop, show: Callable[[str], None]) -> Alert | None:
        """Search for an alert from its time on, because processors may have lagged.

        EventStore describes the arguments.
        """
        header = ("ce_id", alert_id.encode())
        past = TopicHistory(self._connection, self._connection.topic(ALERTS))

        def messages() -> Iterator[Any]:
            for message in past.read(past.between(near - EARLIER_MS, None), stop):
                show(f"searching for the alert: {time_text(stamp_of(message))}")
                if header in (message.headers() or ()):
                    yield message

        with closing(past):
            return next(each_readable(messages(), self._alert, self._report), None)

    def _batch(self, message: Any) -> Iterable[StoredBatch]:
        return (from_message(message, self._value(message)),)

    def _alert(self, message: Any) -> Iterable[Alert]:
        return (decode_alert(self._value(message)),)

    def _report(self, message: Any, error: Exception) -> None:
        self._note(_unreadable(message, error))


def _is_oldest(message: Any, available: Mapping[int, tuple[int, int]]) -> bool:
    """Return whether a message is the first that its partition retains, and others were before it."""
    return bool(message.offset() == available[message.partition() or 0][0] > 0)


def _count(bounds: Bounds) -> int:
    return sum(end - start for start, end in bounds.values())
