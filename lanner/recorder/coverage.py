"""What of a time was not collected, and why: without it, silence would be taken for absence.

Pure: batches in, sentences out.
"""

from collections import Counter
from dataclasses import dataclass, field

from lanner.recorder.batches import StoredBatch
from processor.hosts.sequence_gaps import Gap, HostSequences
from schemas.batch import EventBatch
from schemas.text.times import date_and_time_seconds

_MAX_GAPS = 20
_MAX_STARTS = 20
_MAX_INTERESTS = 50
UNREADABLE = b"?"
"""Stands among the interests for what was not told, or too many."""


@dataclass(slots=True)
class HostCoverage:
    """What is known of one host's batches."""

    hostname: str
    first: int
    """When its first batch was appended, ms."""
    last: int
    batches: int = 0
    events: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    gaps: list[Gap] = field(default_factory=list)
    missing: int = 0
    """Batches that never came."""
    starts: list[tuple[int, int]] = field(default_factory=list)
    """Collectors that began: when (ms), and their start."""
    stopped: int = 0
    """When its collector said that it ends, ms; 0 where it did not or another began."""
    watched: set[str] = field(default_factory=set)
    """Event types that were whole all the time, as far as was told."""
    narrowed: set[str] = field(default_factory=set)
    """Event types that were narrowed at some time."""
    partly: set[str] = field(default_factory=set)
    """Event types that were watched at some time and not at another."""
    interests: set[bytes] = field(default_factory=set)
    """What narrowed meant, as it was told: each version once."""
    is_told: bool = False
    offset: int = 0
    rules: set[str] = field(default_factory=set)
    """Versions of the rules that decided what was collected."""

    def gone(self, event_types: frozenset[str]) -> frozenset[str]:
        """Give the event types that were never collected here."""
        return event_types - self.watched - self.narrowed - self.partly if self.is_told else frozenset()


class RecordingCoverage:
    """Takes note of batches, host by host."""

    def __init__(self) -> None:
        self.hosts: dict[str, HostCoverage] = {}
        self._sequences = HostSequences()
        self._starts: dict[str, tuple[str, int]] = {}

    def lost(self) -> Counter[str]:
        """Give all losses that were told, by reason."""
        return sum((host.lost for host in self.hosts.values()), Counter())

    def see(self, kept: StoredBatch) -> None:
        """Take note of a batch, in the order of its host."""
        batch = kept.batch
        host = self.hosts.get(batch.host_id)
        if host is None:
            host = self.hosts[batch.host_id] = HostCoverage(batch.hostname, kept.appended, kept.appended)
        start = (batch.boot_id, batch.collector_start)
        if self._starts.get(batch.host_id, start) != start or batch.sequence == 1:
            host.stopped = 0
            if len(host.starts) < _MAX_STARTS:
                host.starts.append((kept.appended, batch.collector_start))
        self._starts[batch.host_id] = start
        found = self._sequences.see(0, batch)
        if isinstance(found, Gap):
            host.missing += found.missing
            if len(host.gaps) < _MAX_GAPS:
                host.gaps.append(found)
        host.last = max(host.last, kept.appended)
        host.batches += 1
        host.events += batch.total
        host.lost.update({reason: number for reason, number in batch.lost.items() if number > 0})
        host.offset = kept.offset or host.offset
        if batch.stopping:
            host.stopped = kept.appended
        version = batch.interest_version or batch.rules_version
        if version and len(host.rules) < _MAX_INTERESTS:
            host.rules.add(version)
        self._watched(host, batch)

    @staticmethod
    def _watched(host: HostCoverage, batch: EventBatch) -> None:
        if not batch.watched and not batch.narrowed:
            return
        whole, narrowed = set(batch.watched), set(batch.narrowed)
        if narrowed:
            host.interests.add(batch.interest if len(host.interests) < _MAX_INTERESTS else UNREADABLE)
        if host.is_told:
            before = host.watched | host.narrowed
            host.partly |= before ^ (whole | narrowed)
            host.watched &= whole
            host.narrowed |= narrowed
        else:
            host.is_told = True
            host.watched, host.narrowed = whole, narrowed
        host.narrowed -= host.partly
        host.watched -= host.partly | host.narrowed


def sentences(host: HostCoverage) -> list[str]:
    """Say what was not collected of a host, a sentence each."""
    found = []
    if not host.is_told:
        found.append("Which events were collected is not known: no batch of this time says so.")
    else:
        whole, part = ", ".join(sorted(host.watched)) or "nothing", ", ".join(sorted(host.narrowed))
        found.append(f"Collected whole: {whole}. Of any other event type nothing was collected.")
        if part:
            found.append(f"Collected only where a rule of that time could match: {part}.")
        if host.partly:
            found.append(f"Collected for a part of the time only, as rules changed: {', '.join(sorted(host.partly))}.")
    if host.rules:
        found.append(f"Rules of that time, by which that was decided: {', '.join(sorted(host.rules))}.")
    if host.lost:
        reasons = ", ".join(f"{reason}: {number:,}" for reason, number in sorted(host.lost.items()))
        found.append(f"{sum(host.lost.values()):,} events were lost ({reasons}).")
    if host.missing:
        which = ", ".join(f"{gap.after + 1} to {gap.before - 1}" for gap in host.gaps)
        found.append(f"{host.missing:,} batches never came (numbers {which}).")
    for appended, start in host.starts:
        found.append(
            f"A collector began at {_time(start // 1_000_000 + host.offset // 1_000_000)}; its first batch came at "
            f"{_time(appended)}. What happened while none ran was not seen."
        )
    if host.stopped:
        found.append(f"The collector was stopped in good order at {_time(host.stopped)}.")
    if host.offset:
        which = "behind" if host.offset > 0 else "ahead of"
        found.append(
            f"The host's clock was {abs(host.offset) / 1e9:.0f} s {which} the broker's: times are corrected by that."
        )
    return found


def _time(milliseconds: int) -> str:
    return date_and_time_seconds(milliseconds * 1_000_000)
