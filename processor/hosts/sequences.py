"""Detects missing batches, and recognizes replayed ones, by the numbers that a collector gives its batches.

A missing number is a loss. A batch that a crash or a rebalance makes this process read again has the offset that it
had and reports nothing; a replay, by somebody, has a later one. Its number is remembered only where its host proved
that it is its own, so nobody can take a number in advance.

Pure: batches in, findings out. How many hosts are remembered is for the caller to bound.
"""

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from processor.hosts.tracked import PartitionHosts
from schemas.batch import EventBatch

_REMEMBERED_STARTS = 4

_STARTS = 16
_RANGES = 64
_COUNTS = 16
_COUNTED_HOSTS = 1000
_WORTH_A_REPORT = 10
"""A collector whose broker restarts sends a few batches twice."""


@dataclass(frozen=True, slots=True)
class QuietHost:
    """The newest batch of a host; a batch as far as sequences and liveness need it."""

    host_id: str
    hostname: str
    boot_id: str
    collector_start: int
    sequence: int
    appended: int
    """Broker's clock, ms."""
    stopping: bool

    previous_start: ClassVar[int] = 0
    previous_sequence: ClassVar[int] = -1


NumberedBatch = EventBatch | QuietHost


class _Start(NamedTuple):
    boot_id: str
    started: int


@dataclass(slots=True)
class _Host:
    partition: int
    current: _Start
    last: dict[_Start, int]
    position: int
    """The highest offset of a batch."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbered batches that never arrived."""

    missing: int
    after: int
    """The last number before the gap."""
    before: int
    """The first number after the gap; for a gap at the end of a start, one more than the last."""


@dataclass(frozen=True, slots=True)
class DuplicateHosts:
    """Two live collectors under one host id."""

    boots: tuple[str, str]


class HostSequences(PartitionHosts[_Host]):
    """The newest number of each host in the partitions that this process owns."""

    def see(self, partition: int, batch: NumberedBatch, position: int = -1) -> Gap | DuplicateHosts | None:
        """Record a batch, in the order of its partition. position: its offset; -1 if it is unknown."""
        start = _Start(batch.boot_id, batch.collector_start)
        host = self._hosts.get(batch.host_id)
        if host is None or host.partition != partition:
            self._hosts[batch.host_id] = _Host(partition, start, {start: batch.sequence}, position)
            return None
        host.position = max(host.position, position)
        last = host.last.get(start)
        if last is None:
            return self._begin(host, start, batch)
        if batch.sequence <= last:
            return None
        host.last[start] = batch.sequence
        if start != host.current:
            twins = DuplicateHosts((host.current.boot_id, start.boot_id))
            host.current = start
            return twins
        missing = batch.sequence - last - 1
        return Gap(missing, last, batch.sequence) if missing else None

    def is_repeat(self, partition: int, batch: NumberedBatch) -> bool:
        """Return whether a batch or a later one of the same start was seen before; then it proves no life."""
        host = self._hosts.get(batch.host_id)
        if host is None or host.partition != partition:
            return False
        return batch.sequence <= host.last.get(_Start(batch.boot_id, batch.collector_start), 0)

    def is_past(self, partition: int, batch: NumberedBatch, position: int) -> bool:
        """Return whether a batch, or a later one, was in the topic before.

        Args:
            partition: of the events topic.
            batch: the batch; it may also seem to be of a start before the present one, by its host's clock.
            position: its offset. One that is read again has the offset that it had.
        """
        host = self._hosts.get(batch.host_id)
        if host is None or host.partition != partition or position <= host.position:
            return False
        start = _Start(batch.boot_id, batch.collector_start)
        is_older = start != host.current and start.started < host.current.started
        return is_older or batch.sequence <= host.last.get(start, 0)

    @staticmethod
    def _begin(host: _Host, start: _Start, batch: NumberedBatch) -> Gap | None:
        before = next((each for each in host.last if each.started == batch.previous_start), None)
        ended = host.last.get(before, 0) if before is not None else 0
        host.current = start
        host.last[start] = batch.sequence
        while len(host.last) > _REMEMBERED_STARTS:
            del host.last[next(iter(host.last))]
        # A first number above 1 means that the beginning is missing; a collector counts from 1.
        missing = batch.sequence - 1
        if missing:
            return Gap(missing, 0, batch.sequence)
        missing = batch.previous_sequence - ended if before is not None else 0
        return Gap(missing, ended, batch.previous_sequence + 1) if missing > 0 else None


@dataclass(slots=True)
class _SeenStart:
    """The batches of one start of a collector."""

    position: int
    """The highest offset of a batch."""
    ranges: list[tuple[int, int]] = field(default_factory=list)
    """Their numbers, in order: first and last."""
    counts: "OrderedDict[int, int]" = field(default_factory=OrderedDict)
    """Events of the newest: a collector that died after it sent a part sends the whole again."""
    has_parts: bool = False


@dataclass(slots=True)
class _SeenHost:
    partition: int
    starts: "OrderedDict[tuple[str, int], _SeenStart]" = field(default_factory=OrderedDict)


class EvaluatedBatches(PartitionHosts[_SeenHost]):
    """The batches of verified hosts that this process evaluated, by number."""

    def has(self, partition: int, batch: EventBatch, position: int) -> bool:
        """Return whether a batch was evaluated, and is in the topic again. position: its offset."""
        host = self._hosts.get(batch.host_id)
        start = None if host is None else host.starts.get((batch.boot_id, batch.collector_start))
        if host is None or start is None or host.partition != partition or position <= start.position:
            return False
        if start.has_parts or batch.first_index or start.counts.get(batch.sequence, batch.count) != batch.count:
            return False
        return _contains(start.ranges, batch.sequence)

    def add(self, partition: int, batch: EventBatch, position: int) -> None:
        """Record that a batch of a verified host was evaluated."""
        host = self._hosts.get(batch.host_id)
        if host is None or host.partition != partition:
            host = self._hosts[batch.host_id] = _SeenHost(partition)
        key = (batch.boot_id, batch.collector_start)
        start = host.starts.get(key)
        if start is None:
            start = host.starts[key] = _SeenStart(position)
            if len(host.starts) > _STARTS:
                host.starts.popitem(last=False)
        start.position = max(start.position, position)
        start.has_parts |= batch.first_index > 0
        start.counts[batch.sequence] = batch.count
        if len(start.counts) > _COUNTS:
            del start.counts[min(start.counts)]
        _insert(start.ranges, batch.sequence)


def _contains(ranges: list[tuple[int, int]], number: int) -> bool:
    at = bisect_right(ranges, (number, number)) - 1
    return any(first <= number <= last for first, last in ranges[max(at, 0) : at + 2])


def _insert(ranges: list[tuple[int, int]], number: int) -> None:
    """Add a number; where there are too many ranges, the lowest one is forgotten."""
    if _contains(ranges, number):
        return
    at = bisect_right(ranges, (number, number))
    first, last, begin, end = number, number, at, at
    if at and ranges[at - 1][1] == number - 1:
        first, begin = ranges[at - 1][0], at - 1
    if at < len(ranges) and ranges[at][0] == number + 1:
        last, end = ranges[at][1], at + 1
    ranges[begin:end] = [(first, last)]
    if len(ranges) > _RANGES:
        del ranges[0]


class ReplayCounts:
    """Replays that were not reported yet; each report is a message, so there is at most one a second for each host."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """By host, the second of its last report, and the replays since."""

    def take(self, host_id: str, second: int) -> int:
        """Count one replay.

        Args:
            host_id: of the batch.
            second: when it was appended, s since the epoch.

        Returns:
            How many to report now; 0 if a report has to wait.
        """
        reported, count = self._counts.pop(host_id, (0, 0))
        is_due = second > reported and (reported or count + 1 >= _WORTH_A_REPORT)
        self._counts[host_id] = (second, 0) if is_due else (reported, count + 1)
        if len(self._counts) > _COUNTED_HOSTS:
            self._counts.popitem(last=False)
        return count + 1 if is_due else 0

    def take_rest(self, host_id: str) -> int:
        """Return how many were counted since the last report of a host, and count them no more."""
        reported, count = self._counts.get(host_id, (0, 0))
        if not reported:
            return 0
        if count:
            self._counts[host_id] = (reported, 0)
        return count
