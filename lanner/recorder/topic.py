"""The retained events of a fleet, in portions of the broker's time."""

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

from bus.clients.history import TopicHistory, stamp_of
from bus.clients.reachability import check_reachable
from bus.connection import Connection
from bus.messages import partition_of
from bus.topics import ALERTS, EVENTS
from foundation.text import OnNote, count_of
from foundation.times import date_and_time_seconds
from lanner.errors import BadInput
from lanner.recorder.context import EventQuery, QueryResult, by_id, by_number, remarks_on
from lanner.recorder.search import EventPortion
from lanner.recorder.store import EARLIER_MS, EventSpan, StoredBatch, from_message
from schemas.alert import ALERT_FORMAT, Alert, BadAlert, decode_alert
from schemas.encoding.batch import EVENT_BATCH_FORMAT, BadBatch


def reader_of_values(connection: Connection) -> Callable[[Any], bytes]:
    """Return a function from a message to its value, translated if another release or a registry's schema wrote it.

    Raises:
        BusUnavailable: The registry's settings are wrong; or, later, a schema is unavailable.
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
            note(f"{message.topic()}[{message.partition()}] at {message.offset()}: {error}.")
            return None

    return read


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


MARGIN_MS = 60_000
"""An alert is published after its event happened; much later if processors lagged."""


def retained_alerts(
    connection: Connection, note: OnNote, since: int, until: int | None, stop: Callable[[], bool]
) -> Iterator[Alert]:
    """Yield alerts in the order in which processors published them; some twice, and some of other times.

    Args:
        connection: the broker.
        note: receives what can't be read.
        since: ms since the epoch; alerts published from a little earlier on.
        until: likewise; None for all later ones, because processors may have lagged.
        stop: called between messages; True ends the iteration.

    Raises:
        BusUnavailable: No broker, or no such topic.
    """
    past = TopicHistory(connection, connection.topic(ALERTS))
    read = reader_of_alerts(connection, note)
    try:
        bounds = past.between(since - MARGIN_MS, None if until is None else until + MARGIN_MS)
        yield from filter(None, map(read, past.read_in_order(bounds, stop)))
    finally:
        past.close()


class FleetHistory:
    """The events that a fleet retains."""

    def __init__(self, connection: Connection, note: OnNote) -> None:
        """Prepare reading.

        Args:
            connection: the broker.
            note: receives what can't be read.

        Raises:
            BusUnavailable: The registry's settings are wrong.
        """
        self._connection = connection
        self._note = note
        self._value = reader_of_values(connection)

    def batches(
        self, span: EventSpan, host: str | None, remarks: list[str], stop: Callable[[], bool]
    ) -> Generator[StoredBatch]:
        """Yield the batches of a time range; EventHistory describes the arguments.

        The partition of a host's id is read first. If it has nothing of the host, all are read: the host was named, or
        the number of partitions changed since.
        """
        past = TopicHistory(self._connection, self._connection.topic(EVENTS))
        key = None if host is None else host.encode("utf-8", "surrogateescape")
        own = [] if key is None else [partition_of(key, len(past.available))]
        is_found = False
        try:
            for partitions in filter(None, (own, list(past.available))):
                for message in past.read(past.between(span.since, span.until, partitions), stop):
                    _note_retention(message, past.available, span.since, remarks)
                    if partitions is own and message.key() != key:
                        continue
                    stored = self._read(message)
                    if stored is not None and host in (None, stored.batch.host_id, stored.batch.hostname):
                        is_found = True
                        yield stored
                if is_found:
                    return
        finally:
            past.close()

    def _read(self, message: Any) -> StoredBatch | None:
        try:
            return from_message(message, self._value(message))
        except BadBatch as error:
            self._note(f"{message.topic()}[{message.partition()}] at {message.offset()}: {error}.")
            return None


def _note_retention(
    message: Any, available: Mapping[int, tuple[int, int]], since: int, remarks: list[str]
) -> None:  # fmt: skip
    is_oldest = message.offset() == available[message.partition()][0] > 0
    if is_oldest and message.timestamp()[1] > since:
        when = date_and_time_seconds(message.timestamp()[1] * 1_000_000)
        remarks.append(f"Events before {when} are no longer retained.")


class TopicRange:
    """The batches that were appended between two times."""

    def __init__(self, connection: Connection, note: OnNote, since: int, until: int | None) -> None:
        """Find their offsets.

        Args:
            connection: the broker.
            note: receives the first message that can't be read.
            since: ms since the epoch.
            until: likewise; None for all later ones.

        Raises:
            BusUnavailable: No broker, or no such topic.
        """
        self._note = note
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
                self._note(f"{message.topic()}[{message.partition()}] at {message.offset()}: {error}.")
            self.unreadable += 1
            return None


def from_topic(
    query: EventQuery, connection: Connection, note: OnNote, stop: Callable[[], bool], show: Callable[[str], None]
) -> QueryResult:
    """Find an alert, and the batches of its host from shortly before it on.

    Args:
        query: the query.
        connection: the broker.
        note: receives what can't be read.
        stop: called between polls; True stops the search.
        show: receives the progress.

    Raises:
        BadInput: The alert is no longer retained, and no host was given.
        BusUnavailable: No broker, or no such topic.
    """
    alert = _alert_of(query, connection, note, stop, show)
    remarks = [] if alert is None else remarks_on(alert)
    host = query.host or (None if alert is None else alert.host_id)
    if alert is not None and not host:
        raise BadInput(f"{query.id}: {alert.rule}: this alert isn't about a host; `lanner alerts list` shows it.")
    if host is None:
        when = date_and_time_seconds(query.time * 1_000_000)
        raise BadInput(
            f"{query.id}: no such alert of {when} is retained at {connection.bootstrap_servers}. "
            "--host HOST shows what a host did then; --file PATH searches a recording, such as that of `lanner run`."
        )
    trigger = by_id(query.id, frozenset())
    if alert is not None:
        trigger = by_number(alert.time, alert.event.get("evt.num"))
    others = (
        each
        for each in retained_alerts(connection, note, query.time - query.before, query.time + query.after, stop)
        # With the alert, others are placed by their host's id.
        if query.includes(each) and (alert is not None or host in (each.host_id, each.hostname))
    )

    span = EventSpan(query.time - query.before - EARLIER_MS, query.time)
    source = FleetHistory(connection, note)
    batches = source.batches(span, host, remarks, stop)
    return QueryResult(batches, alert, trigger, remarks, others, source)


def _alert_of(
    query: EventQuery, connection: Connection, note: OnNote, stop: Callable[[], bool], show: Callable[[str], None]
) -> Alert | None:
    """Search for the alert from its time on, because processors may have lagged."""
    alert_id = query.id.encode()
    read = reader_of_alerts(connection, note)
    past = TopicHistory(connection, connection.topic(ALERTS))
    try:
        for message in past.read(past.between(query.time - EARLIER_MS, None), stop):
            show(f"searching for the alert: {_time(message)}")
            if ("ce_id", alert_id) in (message.headers() or ()) and (alert := read(message)) is not None:
                return alert
    finally:
        past.close()
    return None


def _time(message: Any) -> str:
    return date_and_time_seconds(message.timestamp()[1] * 1_000_000)
