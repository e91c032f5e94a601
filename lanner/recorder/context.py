"""The events of one host around a time, in bounded memory.

Pure: takes batches, returns what is shown of its events.
"""

import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, TypeVar

from foundation.quantities import date_and_time_seconds
from lanner.errors import BadInput
from lanner.recorder.coverage import RecordingCoverage
from lanner.recorder.store import EARLIER_MS, EventRange, EventStore, Reading, Stop, StoredBatch, time_text
from schemas.alert import Alert, alert_id
from schemas.batch import EventBatch

IsTrigger = Callable[[EventBatch, int], bool]
"""Takes a batch and the index of an event; returns whether that event raised the alert."""
Shown = TypeVar("Shown")
"""The form in which events are returned, such as a text."""
Write = Callable[[EventBatch], Callable[[int], Shown]]
"""Takes a batch; returns a function from an event's index to what is stored of it."""
Rows = Callable[[EventBatch], AbstractSet[int]]
"""Takes a batch; returns the rows of the processes whose events are stored."""

_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class TimelineRange:
    """The time range, ns since the epoch."""

    start: int
    alert: int
    end: int


@dataclass(frozen=True, slots=True)
class TimelineEntry(Generic[Shown]):
    """One event."""

    shown: Shown
    is_trigger: bool


class Timeline(Generic[Shown]):
    """Takes the batches of one host in order, and stores the events nearest to the alert."""

    def __init__(
        self, window: TimelineRange, is_trigger: IsTrigger, write: Write[Shown], limit: int, rows: Rows | None = None
    ) -> None:
        """Begin without events. limit: maximum number of events before the alert, and after it; rows: None for all."""
        self.window = window
        self._is_trigger = is_trigger
        self._write = write
        self._limit = limit
        self._rows = rows
        self._before: deque[TimelineEntry[Shown]] = deque(maxlen=limit)
        self._after: list[TimelineEntry[Shown]] = []
        self.is_found = False
        """True if the alert's event was found."""
        self.is_past = False
        """True if events after the range have arrived, so that no more events of it will."""
        self.too_early = 0
        """Events of the range that were dropped before the stored ones."""
        self.too_late = 0
        """Events of the range that were dropped after the stored ones."""
        self.other_events = 0
        """Events of the range whose processes were not to be stored."""
        self.others: set[tuple[int, int | None]] = set()
        """Pid and start of these processes."""

    def take(self, batch: EventBatch) -> None:
        """Add a batch; its times are the broker's."""
        times = batch.columns["time"]
        if not batch.count:
            self.is_past = self.is_past or batch.created > self.window.end
            return
        if min(times) > self.window.end:
            self.is_past = True
            return
        if max(times) < self.window.start:
            return
        start, end = self.window.start, self.window.end
        indexes: Sequence[int] = range(batch.count)
        if min(times) < start or max(times) > end:
            indexes = [index for index, time in enumerate(times) if start <= time <= end]
        if self._rows is not None:
            indexes = self._chosen(batch, indexes, self._rows(batch))
        if indexes:
            show = self._write(batch)
            for index in indexes:
                self._put(batch, index, times[index], show)

    def _chosen(self, batch: EventBatch, indexes: Sequence[int], rows: AbstractSet[int]) -> Sequence[int]:
        """Return the events of some processes; count the others."""
        column = batch.columns["process"]
        seen = set(column)
        chosen = [index for index in indexes if column[index] in rows] if not rows.isdisjoint(seen) else ()
        self.other_events += len(indexes) - len(chosen)
        self.others.update((batch.processes[row].pid, batch.processes[row].start_time) for row in seen - rows)
        return chosen

    def lines(self) -> tuple[list[TimelineEntry[Shown]], list[TimelineEntry[Shown]]]:
        """Return the events up to and including the one that raised the alert, and the events after it."""
        return list(self._before), list(self._after)

    def _put(self, batch: EventBatch, index: int, time: int, show: Callable[[int], Shown]) -> None:
        is_trigger = time // _MS == self.window.alert // _MS and self._is_trigger(batch, index)
        self.is_found = self.is_found or is_trigger
        if is_trigger or (time <= self.window.alert and not self.is_found):
            self.too_early += len(self._before) == self._limit
            self._before.append(TimelineEntry(show(index), is_trigger))
        elif len(self._after) < self._limit:
            self._after.append(TimelineEntry(show(index), is_trigger=False))
        else:
            self.too_late += 1


def by_number(time: int, number: object) -> IsTrigger:
    """Return a function that finds an alert's event by its time and evt.num."""

    def is_trigger(batch: EventBatch, index: int) -> bool:
        return batch.columns["time"][index] == time and str(batch.first_number + index) == str(number)

    return is_trigger


def by_id(identity: str, rules: frozenset[str]) -> IsTrigger:
    """Return a function that finds the event of an alert by its id and the possible rules, if they are stateless."""

    def is_trigger(batch: EventBatch, index: int) -> bool:
        cause = (batch.host_id, batch.boot_id, batch.collector_start, batch.sequence, batch.first_index + index)
        time = batch.columns["time"][index]
        return any(alert_id(time, rule, *cause) == identity for rule in rules)

    return is_trigger


_EARLIER = 20_000_000_000
"""ns; batches state every 15 s what is collected."""
OnBatch = Callable[[StoredBatch], None]


@dataclass(frozen=True, slots=True)
class HostContext(Generic[Shown]):
    """The events of a host around a time."""

    timeline: Timeline[Shown]
    coverage: RecordingCoverage

    def entries(self) -> list[TimelineEntry[Shown]]:
        """Return the events in order."""
        before, after = self.timeline.lines()
        return [*before, *after]


def read_context(
    batches: Reading[StoredBatch],
    window: TimelineRange,
    is_trigger: IsTrigger,
    write: Write[Shown],
    limit: int,
    *,
    stop: Callable[[], bool],
    on_batch: OnBatch = lambda _: None,
    rows: Rows | None = None,
) -> HostContext[Shown]:
    """Read the events of a host in a time range.

    batches: of the host, in order, from a little before the range on; closed at the end. write: returns what to store
    of an event. limit: maximum number of events before the one that it is about, and after it. stop: called between
    batches; True ends reading. on_batch: called with each batch. rows: the processes to store; None for all.
    """
    timeline = Timeline(window, is_trigger, write, limit, rows)
    coverage = RecordingCoverage()
    with closing(batches):
        for stored in batches:
            on_batch(stored)
            timeline.take(stored.batch)
            if timeline.is_past or stop():
                break
            if stored.batch.created >= window.start - _EARLIER:
                coverage.see(stored)
    return HostContext(timeline, coverage)


_UUID_VERSION = 8


def parse_alert_id(text: str) -> str:
    """Return an alert's id in its usual notation. Raises BadInput."""
    try:
        found = uuid.UUID(text)
    except ValueError:
        found = None
    if found is None or found.version != _UUID_VERSION:
        raise BadInput(
            f"{text}: not a valid alert id. `--format json` and `lanner alerts list` show the id of each alert."
        )
    return str(found)


@dataclass(frozen=True, slots=True)
class EventQuery:
    """The condition and range of a search."""

    id: str
    host: str | None
    before: int
    """ms."""
    after: int
    limit: int

    @property
    def time(self) -> int:
        """Event time of the alert, ms, from its id."""
        return uuid.UUID(self.id).int >> 80

    def includes(self, alert: Alert) -> bool:
        """Return whether an alert is of the time, and of the host if one is given."""
        milliseconds = alert.time // 1_000_000 - self.time
        return -self.before <= milliseconds <= self.after and self.host in (None, alert.hostname, alert.host_id)


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The batches to search, and what is known about the alert."""

    store: EventStore
    batches: Reading[StoredBatch]
    alert: Alert | None
    is_trigger: IsTrigger
    alerts: Iterable[Alert] = ()
    """All alerts of this time; searched for when they are read."""

    @property
    def remarks(self) -> list[str]:
        """Remarks on the alert and on its store; complete when the batches were read."""
        return [*([] if self.alert is None else remarks_on(self.alert)), *self.batches.remarks]


def find_around(
    query: EventQuery,
    store: EventStore,
    rule_names: Callable[[], frozenset[str]],
    stop: Stop,
    show: Callable[[str], None],
) -> QueryResult:
    """Find an alert, and the batches of its host from shortly before it on.

    rule_names: returns the rules that may have raised an alert of this host, if it is not stored; show: receives the
    progress. Raises BadInput if the alert is no longer retained in a fleet and no host was given, or if a recording
    can't be read; BusUnavailable if the topic can't.
    """
    is_fleet = store.scope == "fleet"
    alert = store.alert(query.id, query.time, stop, show)
    host = query.host or (None if alert is None else alert.host_id or None)
    if host is None and is_fleet:
        if alert is not None:
            raise BadInput(f"{query.id}: {alert.rule}: this alert isn't about a host; `lanner alerts list` shows it.")
        when = time_text(query.time)
        raise BadInput(
            f"{query.id}: no such alert of {when} is retained at {store.name}. "
            "--host HOST shows what a host did then; --file PATH searches a recording, such as that of `lanner run`."
        )
    if alert is not None:
        trigger = by_number(alert.time, alert.event.get("evt.num"))
    else:
        trigger = by_id(query.id, frozenset() if is_fleet else rule_names())
    around = EventRange(query.time - query.before, query.time + query.after)
    others = (
        each
        for each in (() if store.scope == "file" else store.alerts(around, stop))
        # With the alert, others are placed by their host's id.
        if query.includes(each) and (alert is not None or host in (None, each.host_id, each.hostname))
    )
    events = EventRange(around.since - EARLIER_MS, host=host, about=query.time)
    return QueryResult(store, store.batches(events, stop), alert, trigger, others)


def remarks_on(alert: Alert) -> list[str]:
    """Return remarks on an alert's earlier events."""
    remarks = []
    if alert.repeats is not None:
        remarks.append(f"This alert summarizes repeats; the first one: lanner context {alert.repeats.first_id}")
    if alert.window is not None:
        first = date_and_time_seconds(alert.window.first)
        remarks.append(f"The rule counted {alert.window.count:,} events since {first}; a longer --before shows them.")
    return remarks
