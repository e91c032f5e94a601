"""Reads what happened around an alert from the retained events, by the same steps as `lanner context`.

Or writes it as one file: a recording of the events, with the alerts and facts in the file's header.
"""

import json
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lanner.console.store.reading import AlertReader
from lanner.console.store.rows import time_text
from lanner.errors import BadInput
from lanner.recorder.context import TimelineRange, by_number, read_context, remarks_on
from lanner.recorder.coverage import HostCoverage
from lanner.recorder.recording import INCIDENT
from lanner.recorder.store import EARLIER_MS, EventRange, EventStore, ReadBudget, Reading, StoredBatch
from lanner.recorder.tree.activity import activity_maker
from lanner.recorder.tree.family import Family, family
from lanner.recorder.tree.peers import HostReading, Join, JoinedContext, joined_contexts
from lanner.recorder.tree.relatives import rows_of_family
from processor.output.redaction import Redaction
from schemas.alert import Alert
from schemas.batch import Container, EventBatch, Process
from schemas.encoding.batch import encode_batch
from schemas.encoding.recording import RecordingWriter

MAX_EVENTS = 20_000
"""Events of the alert's family before it, and after it."""
MAX_ALERTS = 1_000
LATEST_MS = 300_000
"""How late a single event may have arrived to be looked up."""
_MS = 1_000_000
Labels = tuple[tuple[str, str], ...]
MAX_BYTES = 32 << 20
_EARLIER = 20_000_000_000
"""ns; batches state every 15 s what is collected."""


@dataclass(frozen=True, slots=True)
class EventArchive:
    """The retained events that a console can read."""

    events: EventStore | None
    """None if there are none."""
    retention: str
    """How long they are retained, or why there are none, as a sentence with what to do about it."""


@dataclass(frozen=True, slots=True)
class StoryTree:
    """The processes of one host."""

    host_id: str
    hostname: str
    family: Family
    join: Join | None = None
    """The connection by which the first tree leads to it; None for the first tree."""


@dataclass(frozen=True, slots=True)
class Story:
    """The events around an alert, as a tree of processes."""

    alert: Alert
    window: TimelineRange
    trees: Sequence[StoryTree]
    is_found: bool
    """True if the event of the alert is in the first tree."""
    left_out: int
    """Events of the time range beyond MAX_EVENTS."""
    coverage: Sequence[HostCoverage]
    remarks: Sequence[str]


class StoryReader:
    """Reads stories; each reading takes a budget and may be made on any thread."""

    def __init__(self, archive: EventArchive, alerts: AlertReader, redaction: Redaction) -> None:
        """Take the events, the view of the alerts, and what masks secrets."""
        self.archive = archive
        self._alerts = alerts
        self.redaction = redaction
        self._write = partial(activity_maker, redaction=redaction)

    def story(self, alert: Alert, before: int, after: int, budget: ReadBudget) -> Story:
        """Return what happened around an alert. before, after: ns. Raises LannerError and OSError."""
        window = TimelineRange(alert.time - before, alert.time, alert.time + after)
        remarks = remarks_on(alert)
        events = self.archive.events
        if events is None or not alert.host_id:
            return Story(alert, window, (), is_found=False, left_out=0, coverage=(), remarks=remarks)
        batches = self._batches(events, alert, window, budget)
        trigger = by_number(alert.time, alert.event.get("evt.num"))
        try:
            context = read_context(
                batches, window, trigger, self._write, MAX_EVENTS, stop=budget.is_spent, on_batch=budget.take,
                rows=rows_of_family(alert),
            )  # fmt: skip
        except BadInput as error:
            remarks += [*batches.remarks, *error.messages]
            return Story(alert, window, (), is_found=False, left_out=0, coverage=(), remarks=remarks)
        remarks += batches.remarks
        entries = context.entries()
        trees: list[StoryTree] = []
        joined: Sequence[JoinedContext] = ()
        if entries or context.timeline.other_events:
            found = family(entries, alert, self._alerts_of(alert, window))
            found.count_others(context.timeline)
            trees.append(StoryTree(alert.host_id, alert.hostname, found))
            how = HostReading(events, self._write, MAX_EVENTS, budget.is_spent, budget.take)
            joined = joined_contexts(found, alert.host_id, window, how)
            trees += map(self._joined_tree, joined)
        hosts = dict(context.coverage.hosts)
        for each in joined:
            hosts |= {key: host for key, host in each.context.coverage.hosts.items() if key not in hosts}
        if text := budget.remark():
            remarks.append(text)
        timeline = context.timeline
        return Story(
            alert,
            window,
            trees,
            timeline.is_found,
            timeline.too_early + timeline.too_late,
            list(hosts.values()),
            list(dict.fromkeys(remarks)),
        )

    def _joined_tree(self, joined: JoinedContext) -> StoryTree:
        join, shown = joined.join, joined.context.timeline.window
        found = family(joined.context.entries(), None, self._alerts_of(join, shown))
        found.count_others(joined.context.timeline)
        return StoryTree(join.host_id, join.hostname, found, join)

    def _alerts_of(self, host: Alert | Join, window: TimelineRange) -> list[Alert]:
        """Return the alerts of the host that an alert or a join is about."""
        names = (host.hostname or host.host_id,)
        found = self._alerts.whole_alerts(names, window.start, window.end, MAX_ALERTS)
        return [each for each in found if each.host_id == host.host_id]

    def incident(self, alert: Alert, before: int, after: int, budget: ReadBudget) -> bytes:
        """Return the events around an alert and the alerts of that time as a recording. Raises LannerError, OSError."""
        if self.archive.events is None or not alert.host_id:
            raise NothingToExport(f"there are no events to export. {self.archive.retention}")
        window = TimelineRange(alert.time - before, alert.time, alert.time + after)
        alerts = [alert, *(each for each in self._alerts_of(alert, window) if each.id != alert.id)]
        batches = self._batches(self.archive.events, alert, window, budget)
        return incident_file(alerts, batches, window, self.redaction, budget)

    def event(self, alert: Alert, budget: ReadBudget) -> tuple[EventBatch, int] | None:
        """Return the event of an alert and its place in a batch; None if it is not retained. Raises BusUnavailable."""
        if self.archive.events is None or not alert.host_id:
            return None
        window = TimelineRange(alert.time, alert.time, alert.time)
        time = alert.time // _MS
        around = EventRange(time - EARLIER_MS, time + LATEST_MS, alert.host_id, time)
        batches = self.archive.events.batches(around, budget.is_spent)
        trigger = by_number(alert.time, alert.event.get("evt.num"))
        try:
            found = read_context(batches, window, trigger, _in_batch, 1, stop=budget.is_spent, on_batch=budget.take)
        except BadInput:
            return None
        return next((entry.shown for entry in found.entries() if entry.is_trigger), None)

    @staticmethod
    def _batches(events: EventStore, alert: Alert, window: TimelineRange, budget: ReadBudget) -> Reading[StoredBatch]:
        around = EventRange(window.start // _MS - EARLIER_MS, host=alert.host_id, about=window.alert // _MS)
        return events.batches(around, budget.is_spent)


def _in_batch(batch: EventBatch) -> Callable[[int], tuple[EventBatch, int]]:
    return lambda index: (batch, index)


class NothingToExport(BadInput):
    """No events of the time are retained."""


def incident_file(
    alerts: Sequence[Alert],
    batches: Reading[StoredBatch],
    window: TimelineRange,
    redaction: Redaction,
    budget: ReadBudget,
) -> bytes:
    """Return the file. Raises NothingToExport if no events of that time are retained.

    alerts: that of the incident first, then others of its time; batches: of its host, in order, closed at the end.
    """
    before: deque[bytes] = deque()
    after: list[bytes] = []
    facts: dict[str, Any] = {"rules": set(), "hosts": set()}
    held, left, is_cut = 0, MAX_BYTES // 2, False
    with closing(batches):
        for stored in batches:
            budget.take(stored)
            batch = stored.batch
            times = batch.columns["time"]
            if budget.is_spent() or (times and min(times) > window.end):
                break
            if (max(times) if batch.count else batch.created) < window.start - _EARLIER:
                continue
            facts["rules"] |= {each for each in (batch.rules_version, batch.interest_version) if each}
            facts["hosts"].add(batch.hostname)
            data = encode_batch(redacted_batch(batch, redaction))
            if not times or min(times) <= window.alert:
                before.append(data)
                held += len(data)
                while held > MAX_BYTES // 2 and len(before) > 1:
                    held -= len(before.popleft())
                    is_cut = True
            elif len(data) <= left:
                after.append(data)
                left -= len(data)
            else:
                is_cut = True
                break
    if not before and not after:
        raise NothingToExport("no events of this time are retained, so there is nothing to export.")
    remark = "Events furthest from the alert were left out: the file has at most 32 MiB." if is_cut else budget.remark()
    header = {
        "alerts": [asdict(redaction.alert(alert)) for alert in alerts],
        "rules_versions": sorted(facts["rules"]),
        "hosts": sorted(facts["hosts"]),
        "since": time_text(window.start // 1000),
        "until": time_text(window.end // 1000),
        "remark": remark,
    }
    return _written([*before, *after], json.dumps(header))


def redacted_batch(batch: EventBatch, redaction: Redaction) -> EventBatch:
    """Return a batch with masked secrets: in the texts of its events, and in what processes and containers state."""
    return replace(
        batch,
        strings=[None if text is None else redaction.text(text) for text in batch.strings],
        processes=[_process(process, redaction) for process in batch.processes],
        containers=[_container(container, redaction) for container in batch.containers],
    )


def _process(process: Process, redaction: Redaction) -> Process:
    def text(value: str | None) -> str | None:
        return None if value is None else redaction.text(value)

    arguments, environment = process.args, process.env
    if arguments is not None:
        # An option may be one argument, and its secret the next.
        joined = "\n".join(("", *arguments))
        masked = redaction.text(joined)
        arguments = arguments if masked == joined else tuple(masked.split("\n")[1:])
    if environment is not None:
        environment = tuple(map(redaction.text, environment))
    return replace(
        process,
        name=text(process.name),
        exe=text(process.exe),
        exepath=text(process.exepath),
        cwd=text(process.cwd),
        args=arguments,
        env=environment,
    )


def _container(container: Container, redaction: Redaction) -> Container:
    def masked(labels: Labels | None) -> Labels | None:
        if labels is None:
            return None
        return tuple((key, redaction.text(f"{key}={value}").partition("=")[2]) for key, value in labels)

    return replace(container, labels=masked(container.labels), pod_labels=masked(container.pod_labels))


def _written(batches: Sequence[bytes], header: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="lanner-incident-") as folder:
        path = Path(folder) / "incident.avro"
        writer = RecordingWriter(path, metadata={INCIDENT: header})
        for data in batches:
            writer.write(data)
        writer.close()
        return path.read_bytes()
