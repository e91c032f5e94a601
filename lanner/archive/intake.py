"""Makes files of messages: buffers them by partition, within a limit of bytes, and stores those of an hour at a time.

Pure but for the files: a consumer passes messages in, with the time. Messages of events become rows of events and of
batches. The file of batches is written last and decides what is stored: if a process ends between the two, the file of
events is there already when the same messages come again.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

import pyarrow as pa

from foundation.errors import LannerError
from foundation.text import OnNote
from lanner.archive.alerts import ArchivedAlert, alert_rows
from lanner.archive.files import AlreadyStored, ArchiveFiles, end_of, hour_of, store
from lanner.archive.restored import head_rows
from lanner.archive.rows import ArchivedBatch, ExcessiveBatch, tables
from lanner.archive.schema import BATCHES
from lanner.recorder.store import from_message
from schemas.alert import BadAlert, decode_alert
from schemas.encoding.batch import BadBatch
from schemas.encoding.wire import UnreadableMessage

Kind = Literal["events", "alerts"]
_GROUP_BYTES = 8 << 20
"""Bytes of messages whose rows are made at once, a row group: they take some thirty times as many bytes as rows."""
_MESSAGE_BYTES = 1024
"""What a message takes in memory beside its value and its key."""


@dataclass(slots=True)
class IntakeCounts:
    """What was done since the start."""

    messages: dict[Kind, int] = field(default_factory=lambda: {"events": 0, "alerts": 0})
    """Messages that are stored."""
    unreadable: dict[Kind, int] = field(default_factory=lambda: {"events": 0, "alerts": 0})
    """Messages that aren't valid, or too large as rows."""
    events: int = 0
    """Rows of events that are stored."""
    files: int = 0
    stored_bytes: int = 0
    message_bytes: int = 0
    """Bytes of the messages that are stored, without the broker's compression."""
    newest: int = 0
    """The timestamp of the newest message that is stored, ms since the epoch."""


@dataclass(slots=True)
class _Waiting:
    """The messages of one partition that are not stored yet; all were appended in one hour."""

    since: float
    """When the first one came, monotonic seconds."""
    hour: int
    messages: list[Any] = field(default_factory=list)
    bytes: int = 0


class Intake:
    """Messages on their way into files."""

    def __init__(
        self,
        files: ArchiveFiles,
        value: Callable[[Any], bytes],
        note: OnNote,
        *,
        limit_bytes: int,
        flush_seconds: float,
    ) -> None:
        """Start empty.

        Args:
            files: the archive.
            value: returns a message's value in the present schema.
            note: receives which messages are not valid.
            limit_bytes: limit of all buffered messages.
            flush_seconds: how long a message may wait.
        """
        self.counts = IntakeCounts()
        self._files = files
        self._value = value
        self._note = note
        self._limit = limit_bytes
        self._flush_seconds = flush_seconds
        self._waiting: dict[tuple[Kind, int], deque[_Waiting]] = {}

    @property
    def bytes(self) -> int:
        """Bytes of all buffered messages."""
        return sum(each.bytes for waiting in self._waiting.values() for each in waiting)

    def take(self, kind: Kind, message: Any, now: float) -> None:
        """Buffer a message. now: monotonic seconds."""
        waiting = self._waiting.setdefault((kind, message.partition()), deque())
        # Timestamps may go back where producers set them; the files of a partition continue in order.
        hour = max(hour_of(message.timestamp()[1]), waiting[-1].hour if waiting else 0)
        if not waiting or waiting[-1].hour != hour:
            waiting.append(_Waiting(now, hour))
        last = waiting[-1]
        last.messages.append(message)
        last.bytes += _MESSAGE_BYTES + len(message.value() or b"") + len(message.key() or b"")

    def store_due(self, now: float) -> Iterator[tuple[Kind, int, int]]:
        """Store messages that waited long enough, or take too much memory, or whose hour is over.

        Yields kind and partition, and the offset after the last stored message. Raises OSError if files can't be
        written; the messages stay then. now: monotonic seconds.
        """
        for at, waiting in list(self._waiting.items()):
            while waiting and (len(waiting) > 1 or now - waiting[0].since >= self._flush_seconds):
                yield self._store(at)
        while self.bytes > self._limit:
            yield self._store(max(self._waiting, key=lambda each: sum(part.bytes for part in self._waiting[each])))

    def store_all(self) -> Iterator[tuple[Kind, int, int]]:
        """Store all messages; yields and raises as store_due."""
        for at, waiting in list(self._waiting.items()):
            while waiting:
                yield self._store(at)

    def forget(self, kind: Kind, partitions: Iterable[int]) -> None:
        """Drop the messages of partitions that are to be read again from the last stored message on."""
        for partition in partitions:
            self._waiting.pop((kind, partition), None)

    def _store(self, at: tuple[Kind, int]) -> tuple[Kind, int, int]:
        kind, partition = at
        waiting = self._waiting[at][0]
        messages = waiting.messages
        first, end = messages[0].offset(), messages[-1].offset() + 1
        # Later messages with earlier timestamps are in the hour of those before them.
        appended = max(messages[0].timestamp()[1], waiting.hour)
        bounds = (partition, first, end)
        try:
            if kind == "events":
                self._store_events(bounds, appended, messages)
            else:
                self._add(store(self._files, "alerts", bounds, appended, [self._alerts(messages)]))
        except AlreadyStored as error:
            raise Overtaken(f"another process has stored partition {partition} from {first} on: {error}") from None
        self._waiting[at].popleft()
        self.counts.messages[kind] += len(messages)
        self.counts.message_bytes += sum(len(each.value() or b"") for each in messages)
        self.counts.newest = max(self.counts.newest, messages[-1].timestamp()[1])
        return kind, partition, end

    def _add(self, size: int) -> None:
        self.counts.files += 1
        self.counts.stored_bytes += size

    def _store_events(self, bounds: tuple[int, int, int], appended: int, messages: Sequence[Any]) -> None:
        heads: list[pa.Table] = [BATCHES.empty_table()]
        skip = self._stored_events(bounds, appended)

        def rows() -> Iterator[pa.Table]:
            for group in _groups(messages):
                batches = [each for each in map(self._batch, group) if each is not None]
                if batches:
                    heads.append(head_rows(batches))
                yield from self._tables([each for each in batches if each.offset >= skip])

        partition, first, end = bounds
        if skip < end:
            at = max(first, skip)
            began = appended if at == first else max(appended, _stamp(messages, at))
            self._add(store(self._files, "events", (partition, at, end), began, rows()))
        else:
            for _ in rows():
                pass
        self._add(store(self._files, "batches", bounds, appended, [pa.concat_tables(heads)]))

    def _tables(self, batches: list[ArchivedBatch]) -> Iterator[pa.Table]:
        """Yield the rows of batches, without those of batches that are too large as rows, or can't be rows."""
        made = tables(batches)
        try:
            first = next(made, None)
        except ExcessiveBatch as error:
            self._refuse("events", error.batch.partition, error.batch.offset, error)
            yield from self._tables([each for each in batches if each is not error.batch])
            return
        except (pa.ArrowException, OverflowError, ValueError) as error:
            if len(batches) == 1:
                self._refuse("events", batches[0].partition, batches[0].offset, error)
                return
            for each in batches:
                yield from self._tables([each])
            return
        for table in chain(() if first is None else (first,), made):
            self.counts.events += table.num_rows
            yield table

    def _stored_events(self, bounds: tuple[int, int, int], appended: int) -> int:
        """Return up to which offset events are stored already, because an earlier process ended before the batches."""
        partition, first, _ = bounds
        own = [
            each
            for each in self._files.select("events", appended, appended)
            if each.partition == partition and each.first >= first
        ]
        return max((end_of(self._files, each) for each in own), default=0)

    def _batch(self, message: Any) -> ArchivedBatch | None:
        try:
            return ArchivedBatch(from_message(message, self._value(message)), message.partition(), message.offset())
        except (BadBatch, UnreadableMessage) as error:
            self._refuse("events", message.partition(), message.offset(), error)
            return None

    def _alerts(self, messages: Sequence[Any]) -> pa.Table:
        found = []
        for message in messages:
            try:
                alert = decode_alert(self._value(message))
            except (BadAlert, UnreadableMessage) as error:
                self._refuse("alerts", message.partition(), message.offset(), error)
                continue
            found.append(ArchivedAlert(alert, message.timestamp()[1], message.partition(), message.offset()))
        return alert_rows(found)

    def _refuse(self, kind: Kind, partition: int, offset: int, error: Exception) -> None:
        self.counts.unreadable[kind] += 1
        if self.counts.unreadable[kind] & (self.counts.unreadable[kind] - 1) == 0:
            # The 1st, 2nd, 4th, 8th ...: a host that sends many of them must not fill the log.
            so_far = f"{self.counts.unreadable[kind]:,} so far"
            self._note(f"{kind}[{partition}] at {offset} is not archived: {error} ({so_far}).", "warning")


class Overtaken(LannerError, OSError):
    """Another process has stored the messages: this one must continue after them."""


def _groups(messages: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield messages ordered by host, in groups whose rows are made at once."""
    group: list[Any] = []
    size = 0
    for message in sorted(messages, key=lambda each: (each.key() or b"", each.offset())):
        if group and size + len(message.value() or b"") > _GROUP_BYTES:
            yield group
            group, size = [], 0
        group.append(message)
        size += len(message.value() or b"")
    if group:
        yield group


def _stamp(messages: Sequence[Any], offset: int) -> int:
    return next((int(each.timestamp()[1]) for each in messages if each.offset() >= offset), 0)
