"""Detects missing batches: a collector numbers its batches, so a missing number is a loss.

Pure: batches in, findings out. A repeated batch reports nothing. How many hosts are remembered is
for the caller to bound.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from processor.hosts.tracked import PartitionHosts
from schemas.batch import EventBatch

_REMEMBERED_STARTS = 4


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
