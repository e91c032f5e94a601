"""Reports what was not collected during a time, and why, so that missing events aren't taken for proof.

Pure: takes batches, returns sentences.
"""

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

from foundation.text import count_of
from lanner.recorder.store import StoredBatch, time_text
from processor.hosts.sequences import Gap, HostSequences
from schemas.batch import events_lost
from schemas.filter import MAX_BYTES, BadFilter, Clause, PathPattern, PushdownFilter, decode_filter

_MAX_GAPS = 20
_MAX_STARTS = 20
_MAX_FILTERS = 50
_NAMED_HOSTS = 5
UNREADABLE = b"?"
"""Stands for a filter that is unknown, or beyond the maximum number."""


@dataclass(slots=True)
class HostCoverage:
    """The facts about one host's batches."""

    hostname: str
    first: int
    """Append time of its first batch, ms."""
    last: int
    batches: int = 0
    events: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    gaps: list[Gap] = field(default_factory=list)
    missing: int = 0
    """Batches that never arrived."""
    starts: list[tuple[int, int]] = field(default_factory=list)
    """Collector starts: append time of the first batch (ms), and the start time."""
    stopped: int = 0
    """When its collector reported that it stops, ms; 0 if it did not, or another started since."""
    watched: set[str] = field(default_factory=set)
    """Event types that were sent in full throughout, as reported."""
    narrowed: set[str] = field(default_factory=set)
    """Event types that were filtered at some time."""
    partly: set[str] = field(default_factory=set)
    """Event types that were watched only part of the time."""
    encoded_filters: set[bytes] = field(default_factory=set)
    """The filters of the filtered event types, as reported; each version once."""
    is_known: bool = False
    offset: int = 0
    rules: set[str] = field(default_factory=set)
    """Versions of the rules that decided what was collected."""

    def collects(self, watched: Iterable[str], narrowed: Iterable[str], interest: bytes) -> None:
        """Note what a batch states of what its host collects.

        Args:
            watched: event types that were sent in full.
            narrowed: event types that were filtered.
            interest: the encoded filter.
        """
        whole, filtered = set(watched), set(narrowed)
        if not whole and not filtered:
            return
        if filtered:
            self.encoded_filters.add(interest if len(self.encoded_filters) < _MAX_FILTERS else UNREADABLE)
        if self.is_known:
            before = self.watched | self.narrowed
            self.partly |= before ^ (whole | filtered)
            self.watched &= whole
            self.narrowed |= filtered
        else:
            self.is_known = True
            self.watched, self.narrowed = whole, filtered
        self.narrowed -= self.partly
        self.watched -= self.partly | self.narrowed

    def gone(self, event_types: frozenset[str]) -> frozenset[str]:
        """Return the event types that were never collected on this host."""
        return event_types - self.watched - self.narrowed - self.partly if self.is_known else frozenset()


class RecordingCoverage:
    """Tracks the batches of each host."""

    def __init__(self) -> None:
        self.hosts: dict[str, HostCoverage] = {}
        self._sequences = HostSequences()
        self._starts: dict[str, tuple[str, int]] = {}

    def lost(self) -> Counter[str]:
        """Return all reported losses, by reason."""
        return sum((host.lost for host in self.hosts.values()), Counter())

    def see(self, stored: StoredBatch) -> None:
        """Track a batch; the batches of a host must be in order."""
        batch = stored.batch
        host = self.hosts.get(batch.host_id)
        if host is None:
            host = self.hosts[batch.host_id] = HostCoverage(batch.hostname, stored.appended, stored.appended)
        start = (batch.boot_id, batch.collector_start)
        if self._starts.get(batch.host_id, start) != start or batch.sequence == 1:
            host.stopped = 0
            if len(host.starts) < _MAX_STARTS:
                host.starts.append((stored.appended, batch.collector_start))
        self._starts[batch.host_id] = start
        found = self._sequences.see(0, batch)
        if isinstance(found, Gap):
            host.missing += found.missing
            if len(host.gaps) < _MAX_GAPS:
                host.gaps.append(found)
        host.last = max(host.last, stored.appended)
        host.batches += 1
        host.events += stored.events
        host.lost.update({reason: number for reason, number in batch.lost.items() if number > 0})
        host.offset = stored.offset or host.offset
        if batch.stopping:
            host.stopped = stored.appended
        version = batch.interest_version or batch.rules_version
        if version and len(host.rules) < _MAX_FILTERS:
            host.rules.add(version)
        host.collects(batch.watched, batch.narrowed, batch.interest)


def sentences(host: HostCoverage) -> list[str]:
    """Return sentences on what was not collected on a host."""
    found = []
    if not host.is_known:
        found.append("Which events were collected is unknown: no batch of this time reports it.")
    else:
        whole, part = ", ".join(sorted(host.watched)) or "nothing", ", ".join(sorted(host.narrowed))
        found.append(f"Collected in full: {whole}. No other event types were collected.")
        if part:
            found.append(f"Collected only if a rule at that time could match: {part}.")
        if host.partly:
            found.append(f"Collected only part of the time, because rules changed: {', '.join(sorted(host.partly))}.")
    if host.rules:
        found.append(f"Versions of the rules that decided this: {', '.join(sorted(host.rules))}.")
    if host.lost:
        reasons = ", ".join(f"{reason}: {number:,}" for reason, number in sorted(host.lost.items()))
        found.append(f"{sum(host.lost.values()):,} events were lost ({reasons}).")
    if host.missing:
        which = ", ".join(f"{gap.after + 1} to {gap.before - 1}" for gap in host.gaps)
        found.append(f"{host.missing:,} batches are missing (numbers {which}).")
    for appended, start in host.starts:
        began = time_text(start // 1_000_000 + host.offset // 1_000_000)
        found.append(
            f"A collector started at {began}; its first batch came at {time_text(appended)}. "
            "Events before that were not collected."
        )
    if host.stopped:
        found.append(f"The collector was stopped cleanly at {time_text(host.stopped)}.")
    if host.offset:
        which = "behind" if host.offset > 0 else "ahead of"
        found.append(f"The host's clock was {abs(host.offset) / 1e9:.0f} s {which} the broker's: times are corrected.")
    return found


def read_filter(encoded: bytes) -> PushdownFilter | None:
    """Decode a filter from a batch; None if it is invalid: a host may be compromised."""
    try:
        return decode_filter(zlib.decompressobj().decompress(encoded, MAX_BYTES))
    except (zlib.error, BadFilter):
        return None


def covers(then: PushdownFilter, now: PushdownFilter, event: str) -> bool:
    """Return whether every event of a type that matches the rules' filter now matched the collector's then."""
    wider = [clause for clause in then.clauses if clause.event == event]
    return all(any(_within(clause, each) for each in wider) for clause in now.clauses if clause.event == event)


def _within(clause: Clause, wider: Clause) -> bool:
    if not wider.tests <= clause.tests:
        return False
    if wider.patterns is None:
        return True
    return clause.patterns is not None and all(
        any(_inside(pattern, each) for each in wider.patterns) for pattern in clause.patterns
    )


def _inside(pattern: PathPattern, wider: PathPattern) -> bool:
    if pattern.is_prefix != wider.is_prefix:
        return False
    return pattern.text.startswith(wider.text) if pattern.is_prefix else pattern.text.endswith(wider.text)


def not_collected(
    event_types: frozenset[str], pushdown_filter: PushdownFilter, hosts: Mapping[str, HostCoverage]
) -> list[str]:
    """Return sentences on the events that rules select but collectors didn't send, with the hosts."""
    read = cache(read_filter)
    is_covered = cache(lambda sent, event: (then := read(sent)) is not None and covers(then, pushdown_filter, event))
    hosts_by_sentence: dict[str, list[str]] = defaultdict(list)
    for host in hosts.values():
        lacking = frozenset(
            event
            for event in event_types & host.narrowed
            if not all(is_covered(sent, event) for sent in host.encoded_filters)
        )
        for sentence in _missing(event_types, lacking, host):
            hosts_by_sentence[sentence].append(host.hostname)
    return [f"{sentence} ({_named(names)})" for sentence, names in hosts_by_sentence.items()]


def _missing(event_types: frozenset[str], lacking: frozenset[str], host: HostCoverage) -> Iterable[str]:
    if not host.is_known:
        yield "unknown which events were collected"
    if gone := host.gone(event_types):
        yield f"not collected, because no rule at that time needed it: {_joined(gone)}"
    if partly := event_types & host.partly:
        yield f"collected only part of the time, because rules changed: {_joined(partly)}"
    if lacking:
        yield (f"collected only for the rules at that time, which is less than these rules need: {_joined(lacking)}")
    if lost := events_lost(host.lost):
        yield f"lost: {count_of(lost, 'event')}"
    if host.missing:
        yield f"missing: {count_of(host.missing, 'batch', 'batches')}"


def _joined(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _named(names: list[str]) -> str:
    if len(names) <= _NAMED_HOSTS:
        return ", ".join(sorted(names))
    return f"{count_of(len(names), 'host')}, such as {', '.join(sorted(names)[:_NAMED_HOSTS])}"
