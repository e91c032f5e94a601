"""Suppress repeats of a rule's alert, and sum notices about Lanner and its hosts.

The first alert is sent at once, the others as one count when the period ends; of notices, the first is reported at
once, later ones at most every five minutes, with one sum per host and kind. Nothing is dropped without being counted,
and nothing is counted twice: the position of each source's newest counted event is stored, so that a redelivered event
is recognized. A period ends by the event times of the matches, and also by the broker's clock, which no host can
change.

A notice is passed to correlation like a pre-matched event, and its sum is window state: it is written before the batch
that caused it is acknowledged.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from foundation.quantities import duration_text
from processor.matching.pre_match import EventKey, EventOrigin, Notice, PreMatch, RepeatedAlert, retained
from processor.output.internal_alerts import Cause, internal_alert
from schemas.alert import Alert, Repeats, Value, alert_id, decode_alert
from schemas.distinct_values import Values, differing, merged, text_of, values_in, without

Sources = tuple[tuple[int, int], ...]
"""For each source, the position of its newest event that was counted."""
MAX_SOURCES = 1_000
"""Sources per group; the least recently matched is dropped first."""

MINIMUM: Mapping[str, int] = MappingProxyType({"process_stale": 100, "dns_unreadable": 100, "tls_unreadable": 100})
"""By name, the smallest number within QUIET that is reported by an alert; 1 for other names. Metrics count all.

A few processes that end while the collector starts are stale on every host.
"""
MAX_NAMES = 50
"""The maximum number of names in one sum, since a host can invent them. The rest is summed as OTHER."""
OTHER = "other"
_MAX_TALLY_SOURCES = 100
_MOST = 2**62


@dataclass(frozen=True, slots=True)
class Throttle:
    """An alert that was sent and the count of its repeats."""

    first_id: str
    first: int
    """Event time of the alert that was sent, ns."""
    period: int
    """ns."""
    alert: bytes
    """That alert, encoded, long texts clipped; empty once its repeats are reported."""
    sources: Sources
    count: int = 0
    last: int = 0
    """Event time of the newest repeat, ns."""
    values: Values = field(default_factory=dict)
    """The values of the repeats in fields in which they may differ."""

    @property
    def end(self) -> int:
        """The last event time whose repeats are counted here, ns."""
        return self.first + self.period

    @property
    def is_open(self) -> bool:
        """True if repeats are still counted."""
        return bool(self.alert)

    def counts(self, time: int) -> bool:
        """Return whether a match at a time is a repeat. time: event time, ns."""
        return self.is_open and time <= self.end


@dataclass(frozen=True, slots=True)
class SuppressResult:
    """The result of a match."""

    state: Throttle
    alerts: tuple[Alert, ...] = ()
    is_duplicate: bool = False
    """The same event matched before: nothing is sent or counted."""


def take_match(
    state: Throttle | None,
    stamp: EventKey,
    make_alert: Callable[[], Alert],
    period: int,
    weight: int = 1,
    *,
    fields: Callable[[], Mapping[str, Value]] = dict,
    may_recur: bool = False,
) -> SuppressResult:
    """Send an alert or count it.

    Args:
        state: of the group; None if there is none.
        stamp: of the event.
        make_alert: makes the alert if it is sent.
        period: how long repeats are counted, ns.
        weight: how many equal events the event stands for.
        fields: returns the alert's values of fields in which repeats may differ; called if it is counted.
        may_recur: whether the event may arrive both from detection and from another group.
    """
    time = stamp[0]
    if state is not None and (is_applied(state.sources, stamp) or (may_recur and _is_first(state, time, make_alert))):
        return SuppressResult(state, is_duplicate=True)
    sources = applied(() if state is None else state.sources, stamp, MAX_SOURCES)
    if state is not None and state.counts(time):
        last, values = max(state.last, time), merged(state.values, values_in(fields(), weight))
        counted = replace(state, count=state.count + weight, last=last, sources=sources, values=values)
        return SuppressResult(counted)
    summary = () if state is None else close(state)[1]
    alert = make_alert()
    throttle = Throttle(alert.id, time, period, retained(alert), sources, weight - 1, time)
    return SuppressResult(throttle, (*summary, alert))


def add_repeats(state: Throttle | None, stamp: EventKey, repeated: RepeatedAlert) -> SuppressResult:
    """Add repeats that detection counted to those of the same alert; return a summary if they end a period."""
    if state is not None and is_applied(state.sources, stamp):
        return SuppressResult(state, is_duplicate=True)
    sources = applied(() if state is None else state.sources, stamp, MAX_SOURCES)
    if state is not None and state.counts(stamp[0]):
        count, last = state.count + repeated.count, max(state.last, repeated.last)
        values = merged(state.values, repeated.values)
        return SuppressResult(replace(state, count=count, last=last, sources=sources, values=values))
    summary = () if state is None else close(state)[1]
    # The id of a summary contains this time: two summaries of one period must not share an id.
    first = repeated.first if state is None or state.first_id != repeated.first_id else stamp[0]
    counted = (repeated.count, repeated.last, repeated.values)
    fresh = Throttle(repeated.first_id, first, repeated.period, repeated.alert, sources, *counted)
    return SuppressResult(fresh, summary)


def close(state: Throttle) -> tuple[Throttle, tuple[Alert, ...]]:
    """Close a period; return a summary if there were repeats.

    The positions of applied events are retained, so that a redelivered repeat makes no alert.
    """
    closed = replace(state, alert=b"", values={})
    if not state.is_open or not state.count:
        return closed, ()
    return closed, (_summary(state, state.end, f"in {duration_text(state.period)}", "summary"),)


def report_so_far(state: Throttle) -> tuple[Throttle, tuple[Alert, ...]]:
    """Report the repeats that were counted so far, and continue from zero until the period ends."""
    if not state.is_open or not state.count:
        return state, ()
    return replace(state, count=0, values={}), (_summary(state, max(state.first, state.last), "so far", "so far"),)


def _summary(state: Throttle, time: int, within: str, kind: str) -> Alert:
    first = decode_alert(state.alert)
    times = "time" if state.count == 1 else "times"
    values = differing(state.values, first)
    # Before the output, since readers cut long texts at the end.
    others = f" ({text_of(values)})" if values else ""
    text = f"REPEATED {state.count} more {times} {within}{others}: {first.output}"
    first = without(first, values) if values else first
    repeats = Repeats(first.id, state.count, state.first, state.last, state.period)
    # Repeated among the fields, for readers of Falco's JSON.
    counts = {f"repeats.{name}": getattr(repeats, name) for name in ("first_id", "count", "first", "last")}
    return replace(
        first,
        id=alert_id(time, first.id, state.first, state.period, kind),
        time=time,
        output=text,
        output_fields={**first.output_fields, **counts},
        repeats=repeats,
    )


def _is_first(state: Throttle, time: int, make_alert: Callable[[], Alert]) -> bool:
    """Return whether the event of a match is the one whose alert was sent."""
    return state.first == time and state.first_id == make_alert().id


def is_applied(sources: Sources, stamp: EventKey) -> bool:
    """Return whether an event was counted before."""
    _, position, source = stamp
    return any(known == source and position <= applied for known, applied in sources)


def applied(sources: Sources, stamp: EventKey, most: int) -> Sources:
    """Return the sources, at most `most`, with an event as the newest of its source."""
    _, position, source = stamp
    others = tuple(entry for entry in sources if entry[0] != source)
    return (*others[-(most - 1) :], (source, position))


@dataclass(frozen=True, slots=True)
class Tally:
    """The sum of notices of one kind about one host since the last report."""

    origin: EventOrigin
    """Origin of the newest notice."""
    hostname: str
    time: int
    """Time of the newest notice, ns."""
    priority: str
    text: str
    numbers: Mapping[str, int]
    """Unreported sums by name; empty if all were reported."""
    sources: Sources


def take_notice(tally: Tally | None, pre_match: PreMatch, notice: Notice) -> Tally | None:
    """Return the sum with a notice of a pre-match; None if it was counted before."""
    stamp, before = pre_match.origin.stamp(pre_match.time), () if tally is None else tally.sources
    if is_applied(before, stamp):
        return None
    numbers = {} if tally is None else dict(tally.numbers)
    for name, number in notice.numbers.items():
        key = name if name in numbers or len(numbers) < MAX_NAMES else OTHER
        numbers[key] = min(numbers.get(key, 0) + number, _MOST)
    return Tally(
        pre_match.origin,
        pre_match.hostname,
        pre_match.time,
        notice.priority,
        notice.text or ("" if tally is None else tally.text),
        numbers,
        applied(before, stamp, _MAX_TALLY_SOURCES),
    )


def is_tally_due(tally: Tally) -> bool:
    """Return whether a sum is large enough for an alert."""
    return any(number >= MINIMUM.get(name, 1) for name, number in tally.numbers.items())


def report_tally(kind: str, tally: Tally) -> tuple[Tally, tuple[Alert, ...]]:
    """Return the sum after a report, and its alert; no alert if nothing is unreported or the sum is too small."""
    if not is_tally_due(tally):
        return tally, ()
    origin, numbers = tally.origin, dict(sorted(tally.numbers.items()))
    cause = Cause(origin.host_id, tally.hostname, tally.time, (origin.boot_id, origin.collector_start, origin.sequence))
    counted = ", ".join(f"{name}: {number}" for name, number in numbers.items())
    total = sum(numbers.values())
    text = tally.text or ("1 event was lost" if total == 1 else f"{total} events were lost")
    output = f"{text} | {counted}"
    alert = internal_alert(kind, cause, output, numbers, tally.priority)
    return replace(tally, numbers={}, text=""), (alert,)
