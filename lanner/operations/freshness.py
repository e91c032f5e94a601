"""How current detection is, and what holds it up. Pure.

`lanner status`, `lanner hosts`, the console, /readyz, metrics and alerts about Lanner itself all take it from here.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from bus.acls import ARCHIVE_GROUP
from foundation.quantities import seconds_text
from foundation.text import count_of
from lanner.recorder.host_tally import FleetHost
from schemas.alert import Alert, alert_id
from schemas.batch import INCOMPLETE_REASONS

ReaderKind = Literal["processor", "sink", "reader"]
Subject = Literal["evaluation", "hosts", "host", "sink", "archive", "disk"]
SUBJECTS: tuple[Subject, ...] = get_args(Subject)
_MOST_REASONS = 3
_FULL_BYTES = 1 << 20
_ARCHIVE_BEHIND_SECONDS = 3600.0
"""From when on an archive is behind: some times archive.flush_seconds, and well within what topics retain."""
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class PipelineQueue:
    """The messages that wait for one reader."""

    kind: ReaderKind
    """Processors, a sink, or another reader, such as a SIEM."""
    name: str
    """The sink, or the consumer group."""
    source: str
    """The topic or the file."""
    waiting: int
    oldest: float | None
    """When the oldest of what waits was queued, wall clock, seconds; None if nothing waits, or if it isn't known."""
    readers: int | None = None
    """How many run; None if it isn't known."""
    failure: str = ""
    """Why its reader takes nothing now; empty if it does, or if it isn't known."""


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """The space of the file system that holds a folder."""

    folder: str
    used_by: str
    """The settings that put files there."""
    free: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class FreshnessLimits:
    """From when on something counts as late or silent; seconds."""

    behind: float
    """Age of the oldest event that is not evaluated."""
    undelivered: float
    """Age of the oldest alert that waits for a sink."""
    silent: float
    """Time in which a host sent nothing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about how current detection is."""

    subject: Subject
    name: str
    """The topic, host, sink or folder."""
    text: str
    """The state, as a clause without a full stop."""
    is_problem: bool


@dataclass(frozen=True, slots=True)
class Freshness:
    """How current detection was at a time."""

    read_at: float
    """s since the epoch."""
    evaluated: float | None
    """The events until then are evaluated, s since the epoch; None if this isn't known."""
    is_late: bool
    """True if they are evaluated later than they should be."""
    findings: Sequence[Finding]

    @property
    def problems(self) -> Sequence[Finding]:
        """What isn't as it should be."""
        return [each for each in self.findings if each.is_problem]


def freshness(
    now: float,
    limits: FreshnessLimits,
    queues: Iterable[PipelineQueue],
    hosts: Iterable[FleetHost] | None = None,
    disks: Iterable[DiskSpace] = (),
) -> Freshness:
    """Return how current detection is.

    Args:
        now: wall clock, s.
        limits: from when on something is a problem.
        queues: what waits for processors, sinks and other readers.
        hosts: the hosts that send events; None if they are not known.
        disks: where files are written.
    """
    queues = list(queues)
    processors = [each for each in queues if each.kind == "processor"]
    findings = [_evaluation(each, limits.behind, now) for each in processors]
    if hosts is not None:
        findings += _hosts(list(hosts), limits.silent, now)
    findings += [_sink(each, limits, now) for each in queues if each.kind == "sink"]
    findings += [_archive(each, now) for each in queues if (each.kind, each.name) == ("reader", ARCHIVE_GROUP)]
    findings += [_disk(each) for each in disks]
    late = any(each.is_problem and each.subject == "evaluation" for each in findings)
    return Freshness(now, _evaluated(processors, now), late, findings)


def is_silent(host: FleetHost, silent_seconds: float, now: float) -> bool:
    """Return whether a host sent nothing for too long although its collector didn't stop. now: wall clock, s."""
    return now - host.seen / 1000 > silent_seconds and not host.is_stopped


def losses_text(losses: Mapping[str, int]) -> str:
    """Return the greatest losses with their reasons."""
    found = Counter({reason: number for reason, number in losses.items() if reason not in INCOMPLETE_REASONS})
    return ", ".join(f"{number:,} {reason}" for reason, number in found.most_common(_MOST_REASONS))


def _evaluated(processors: Sequence[PipelineQueue], now: float) -> float | None:
    """Return until when all events are evaluated."""
    if not processors or any(each.waiting and each.oldest is None for each in processors):
        return None
    return min((each.oldest for each in processors if each.oldest is not None), default=now)


def _evaluation(queue: PipelineQueue, behind_seconds: float, now: float) -> Finding:
    age = 0.0 if queue.oldest is None else max(0.0, now - queue.oldest)
    wait = f"{count_of(queue.waiting, 'message')} wait{'s' if queue.waiting == 1 else ''} for processors"
    is_problem = True
    if queue.failure:
        text = queue.failure
    elif queue.readers == 0:
        text = f"no processor runs; {wait}"
    elif age > behind_seconds:
        text = f"{seconds_text(age)} behind" + (f": {wait}" if queue.waiting else "")
    elif queue.waiting and queue.oldest is None:
        text = f"{wait}; how long isn't known"
    else:
        text, is_problem = "in time", False
    return Finding("evaluation", queue.source, text, is_problem)


def _hosts(hosts: Sequence[FleetHost], silent_seconds: float, now: float) -> Iterator[Finding]:
    silent = [host for host in hosts if is_silent(host, silent_seconds, now)]
    losing = [host for host in hosts if host.lost and host not in silent]
    stopped = sum(host.is_stopped for host in hosts)
    parts = [f"{len(hosts) - len(silent) - stopped:,} live", f"{len(silent):,} silent", f"{stopped:,} stopped"]
    lost = sum(host.lost for host in hosts)
    text = f"{', '.join(parts)}; {count_of(lost, 'event')} lost in the last minute"
    yield Finding("hosts", count_of(len(hosts), "host"), text, is_problem=not hosts)
    for host in silent:
        ago = seconds_text(now - host.seen / 1000)
        yield Finding("host", host.name, f"silent for {ago}", is_problem=True)
    for host in sorted(losing, key=lambda each: -each.lost):
        text = f"lost {count_of(host.lost, 'event')} in the last minute: {losses_text(host.losses)}"
        yield Finding("host", host.name, text, is_problem=True)


def _sink(queue: PipelineQueue, limits: FreshnessLimits, now: float) -> Finding:
    age = 0.0 if queue.oldest is None else max(0.0, now - queue.oldest)
    wait = f"{count_of(queue.waiting, 'alert')} wait{'s' if queue.waiting == 1 else ''}"
    since = f"the oldest for {seconds_text(age)}"
    is_problem = True
    # A queue holds alerts while a service is away for some seconds; without one, they are lost at once.
    if queue.failure and (not queue.waiting or age > limits.behind or queue.oldest is None):
        text = f"{queue.failure}; {wait}, {since}" if queue.waiting else f"{queue.failure}; its alerts are lost"
    elif queue.waiting and queue.readers == 0:
        text = f"no notifier runs for it; {wait}"
    elif age > limits.undelivered:
        text = f"{wait}, {since}"
    else:
        text, is_problem = (f"{wait}, {since}" if age else wait if queue.waiting else "nothing waits"), False
    return Finding("sink", queue.name, text, is_problem)


def _archive(queue: PipelineQueue, now: float) -> Finding:
    age = 0.0 if queue.oldest is None else max(0.0, now - queue.oldest)
    wait = f"{count_of(queue.waiting, 'message')} of {queue.source} not archived yet"
    wait += f", the oldest for {seconds_text(age)}" if age else ""
    if queue.readers == 0:
        return Finding("archive", queue.source, f"no lanner archive runs; {wait}", is_problem=True)
    return Finding("archive", queue.source, wait, is_problem=age > _ARCHIVE_BEHIND_SECONDS)


def is_full(disk: DiskSpace) -> bool:
    """Return whether nothing can be written there."""
    return disk.free < _FULL_BYTES


def _disk(disk: DiskSpace) -> Finding:
    text = f"{disk.free >> 20:,} MiB free for {disk.used_by}"
    if is_full(disk):
        text = f"full: {disk.used_by} can't be written"
    return Finding("disk", disk.folder, text, is_full(disk))


SINK_FAILING, SINK_WORKS = "Lanner internal: sink failing", "Lanner internal: sink works again"
DISK_FULL, DISK_HAS_ROOM = "Lanner internal: disk full", "Lanner internal: disk has room again"
_ALERTS: Mapping[Subject, tuple[str, str]] = {"sink": (SINK_FAILING, SINK_WORKS), "disk": (DISK_FULL, DISK_HAS_ROOM)}
"""The names of the alerts when a problem begins and ends. Processors report late evaluation and hosts themselves."""
_CALM_NS = 10 * _NS
"""A problem is over if it was not seen for so long; otherwise one that comes and goes would raise many alerts."""


class ProblemAlerts:
    """Raises one alert when a sink fails or a disk is full, and one when this ends."""

    def __init__(self, hostname: str) -> None:
        """Begin. hostname: of this host."""
        self._hostname = hostname
        self._seen: dict[tuple[Subject, str], tuple[int, int]] = {}
        """When each problem began, and when it was seen last; ns since the epoch."""

    def look(self, current: Freshness) -> list[Alert]:
        """Return the alerts about what has begun or ended."""
        now = int(current.read_at * _NS)
        found = []
        for problem in current.problems:
            key = problem.subject, problem.name
            if problem.subject in _ALERTS:
                if key not in self._seen:
                    text = f"{problem.subject} {problem.name}: {problem.text}"
                    found.append(self._alert(_ALERTS[problem.subject][0], problem.name, now, now, text))
                self._seen[key] = self._seen.get(key, (now, now))[0], now
        for (subject, name), (began, seen) in list(self._seen.items()):
            if now - seen >= _CALM_NS:
                del self._seen[subject, name]
                text = f"{subject} {name}: in order again after {seconds_text((seen - began) / _NS)}"
                found.append(self._alert(_ALERTS[subject][1], name, began, now, text))
        return found

    def _alert(self, kind: str, name: str, began: int, now: int, text: str) -> Alert:
        return Alert(
            id=alert_id(began, kind, name, self._hostname),
            time=now,
            rule=kind,
            priority="Notice" if kind in (SINK_WORKS, DISK_HAS_ROOM) else "Error",
            output=text,
            output_fields={"problem.subject": name},
            source="internal",
            hostname=self._hostname,
        )
