"""Sum notices about Lanner and its hosts: the first is reported at once, later ones at most every five minutes.

There is one sum per host and kind. A notice is passed to correlation like a pre-matched event, and its sum is window
state: it is written before the batch that caused it is acknowledged, so a crash loses nothing and counts nothing twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from processor.correlation.suppress import Sources, applied, is_applied
from processor.matching.pre_match import EventOrigin, Notice, PreMatch
from processor.output.internal_alerts import Cause, internal_alert
from schemas.alert import Alert

MINIMUM: Mapping[str, int] = MappingProxyType({"process_stale": 100, "dns_unreadable": 100, "tls_unreadable": 100})
"""By name, the smallest number within QUIET that is reported by an alert; 1 for other names. Metrics count all.

A few processes that end while the collector starts are stale on every host.
"""
MAX_NAMES = 50
"""The maximum number of names in one sum, since a host can invent them. The rest is summed as OTHER."""
OTHER = "other"
_MAX_SOURCES = 100
_MOST = 2**62


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
        applied(before, stamp, _MAX_SOURCES),
    )


def is_due(tally: Tally) -> bool:
    """Return whether a sum is large enough for an alert."""
    return any(number >= MINIMUM.get(name, 1) for name, number in tally.numbers.items())


def report(kind: str, tally: Tally) -> tuple[Tally, tuple[Alert, ...]]:
    """Return the sum after a report, and its alert; no alert if nothing is unreported or the sum is too small."""
    if not is_due(tally):
        return tally, ()
    origin, numbers = tally.origin, dict(sorted(tally.numbers.items()))
    cause = Cause(origin.host_id, tally.hostname, tally.time, (origin.boot_id, origin.collector_start, origin.sequence))
    counted = ", ".join(f"{name}: {number}" for name, number in numbers.items())
    total = sum(numbers.values())
    text = tally.text or ("1 event was lost" if total == 1 else f"{total} events were lost")
    output = f"{text} | {counted}"
    alert = internal_alert(kind, cause, output, numbers, tally.priority)
    return replace(tally, numbers={}, text=""), (alert,)
