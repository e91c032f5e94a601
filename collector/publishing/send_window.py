"""Batches in flight or next to be sent, in order, and which of them may be sent now.

A batch larger than any that the broker has accepted is sent alone, and the others wait for the result. So a refusal is
about this batch and no other, and its halves still go before later batches, which would look like a gap otherwise.

A client's first batch is sent alone too. A broker that restarts could refuse it, since it does not lead the partition
yet, and accept the next one, since it knows nothing of the client; the client then takes both for delivered.
"""

import sys
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from bus.topics import BATCH_BYTES
from collector.publishing.spool import Segment
from schemas.batch import ARGUMENT_COLUMNS, EVENT_COLUMNS, STRING_COLUMNS, EventBatch, Process
from schemas.encoding.batch import BadBatch, decode_batch, encode_batch

_TEXT_COLUMNS = (*STRING_COLUMNS, "arg_name", "arg_value")
_NO_NEWS: Mapping[str, Any] = {"lost": {}, "watched": [], "narrowed": [], "interest": b""}
"""The facts that a batch reports in addition to events; only one part has them."""


def halves(batch: EventBatch) -> tuple[EventBatch, EventBatch] | None:
    """Divide a batch in two, each with the processes, containers and texts that it needs.

    For a single event, its other reports go into the second part. Return None if nothing is left to divide.
    """
    if batch.count > 1:
        middle = batch.count // 2
        return _part(batch, 0, middle), replace(_part(batch, middle, batch.count), **_NO_NEWS)
    if batch.count and any((batch.lost, batch.watched, batch.narrowed, batch.interest)):
        return replace(_part(batch, 0, 1), **_NO_NEWS), _part(batch, 1, 1)
    return None


def _part(batch: EventBatch, first: int, end: int) -> EventBatch:
    columns: dict[str, Sequence[int]] = {name: batch.columns[name][first:end] for name in EVENT_COLUMNS}
    starts = batch.columns["arg_start"][first : end + 1]
    columns["arg_start"] = array("I", [start - starts[0] for start in starts])
    for name in ARGUMENT_COLUMNS:
        if name != "arg_start":
            columns[name] = batch.columns[name][starts[0] : starts[-1]]
    rows = _sorted(_rows_needed(batch.processes, columns["process"]))
    containers = _sorted(batch.processes[row].container for row in rows if batch.processes[row].container >= 0)
    texts = _sorted({0}.union(*(columns[name] for name in _TEXT_COLUMNS)))
    columns["process"] = array(EVENT_COLUMNS["process"], [rows[row] for row in columns["process"]])
    for name in _TEXT_COLUMNS:
        columns[name] = array("i", [texts[index] for index in columns[name]])
    return replace(
        batch,
        first_number=batch.first_number + first,
        first_index=batch.first_index + first,
        count=end - first,
        strings=[batch.strings[index] for index in texts],
        processes=[_moved(batch.processes[row], rows, containers) for row in rows],
        containers=[batch.containers[row] for row in containers],
        columns=columns,
    )


def _sorted(found: Iterable[int]) -> dict[int, int]:
    """Return the indices, sorted, with their positions."""
    return {index: position for position, index in enumerate(sorted(set(found)))}


def _rows_needed(processes: Sequence[Process], own: Iterable[int]) -> set[int]:
    needed = set(own)
    # A row comes after the rows that it refers to.
    for row in range(max(needed, default=-1), -1, -1):
        if row in needed:
            process = processes[row]
            needed.update((process.parent, process.session_leader, process.group_leader))
    needed.discard(-1)
    return needed


def _moved(process: Process, rows: Mapping[int, int], containers: Mapping[int, int]) -> Process:
    return replace(
        process,
        container=containers.get(process.container, -1),
        parent=rows.get(process.parent, -1),
        session_leader=rows.get(process.session_leader, -1),
        group_leader=rows.get(process.group_leader, -1),
    )


@dataclass(slots=True, eq=False)
class QueuedBatch:
    """A batch, or a part of one."""

    encoded: bytes
    segment: Segment | None
    """The segment on disk that also has it."""
    at: float
    """When it was last added or sent, monotonic clock, seconds."""
    is_settled: bool = False
    is_waiting: bool = True
    """Not sent yet."""
    is_alone: bool = False
    """Nothing else is in flight beside it."""
    was_refused: bool = False
    """Refused together with others, any of which may have been the one that is too large."""
    is_indivisible: bool = False


class SendWindow:
    """Batches that are not settled yet."""

    def __init__(self) -> None:
        self.bytes = 0
        self._all: deque[QueuedBatch] = deque()
        self._waiting: deque[QueuedBatch] = deque()
        self._in_flight = 0
        self._alone: QueuedBatch | None = None
        self._is_known = False
        """True if the broker has accepted a batch of the present client."""
        self._fits = BATCH_BYTES
        """The largest size that the topic is assumed to accept."""
        self._too_large = sys.maxsize

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[QueuedBatch]:
        return iter(self._all)

    @property
    def first(self) -> QueuedBatch | None:
        """The oldest that is not released yet."""
        return self._all[0] if self._all else None

    def add(self, encoded: bytes, segment: Segment | None, at: float) -> None:
        """Add a batch behind the others. segment: the one on disk that has it. at: now, monotonic seconds."""
        made = QueuedBatch(encoded, segment, at)
        self._all.append(made)
        self._waiting.append(made)
        self.bytes += len(encoded)

    def next(self) -> QueuedBatch | None:
        """Return what may be sent now; None if nothing waits, or everything has to wait for a result."""
        while self._waiting:
            first = self._waiting[0]
            if len(first.encoded) >= self._too_large and not first.is_indivisible and self._divide(first):
                continue
            must_wait = self._alone is not None or (self._in_flight and self._goes_alone(first))
            return None if must_wait else first
        return None

    def sent(self, one: QueuedBatch) -> None:
        """Record that a batch returned by `next` is in flight."""
        self._waiting.popleft()
        one.is_waiting = False
        one.is_alone = self._goes_alone(one)
        if one.is_alone:
            self._alone = one
        self._in_flight += 1

    def delivered(self, one: QueuedBatch) -> None:
        """Record that the broker has a batch."""
        self._answered(one)
        one.is_settled = self._is_known = True
        self._fits = max(self._fits, min(len(one.encoded), self._too_large - 1))

    def dropped(self, one: QueuedBatch) -> None:
        """Record that a batch can't be sent, whatever its size."""
        self._answered(one)
        one.is_settled = True

    def refused(self, one: QueuedBatch, *, by_client: bool = False) -> bool:
        """Record that a batch is too large, so it is sent again alone or in halves.

        by_client: the client refused this batch alone. Return True if it can't be sent and is too small to divide.
        """
        is_certain = one.is_alone or by_client
        self._answered(one)
        if not is_certain:
            one.was_refused = True
            one.is_waiting = True
            self._queue()
            return False
        self._too_large = min(self._too_large, len(one.encoded))
        self._fits = min(self._fits, self._too_large - 1)
        if self._divide(one):
            return False
        one.is_settled = True
        return True

    def resend(self, at: float) -> None:
        """Queue everything that is not settled for a new client to send, in order. at: now, monotonic seconds."""
        self._in_flight = 0
        self._alone = None
        self._is_known = False
        for one in self._all:
            one.at = at
            one.is_waiting = not one.is_settled
        self._queue()

    def release(self) -> Iterator[QueuedBatch]:
        """Yield, in order, the settled batches with nothing unsettled before them."""
        while self._all and self._all[0].is_settled:
            done = self._all.popleft()
            self.bytes -= len(done.encoded)
            yield done

    def _goes_alone(self, one: QueuedBatch) -> bool:
        return not self._is_known or one.was_refused or len(one.encoded) > self._fits

    def _answered(self, one: QueuedBatch) -> None:
        self._in_flight -= 1
        if self._alone is one:
            self._alone = None

    def _queue(self) -> None:
        self._waiting = deque(one for one in self._all if one.is_waiting)

    def _divide(self, one: QueuedBatch) -> bool:
        parts = None
        with suppress(BadBatch):
            parts = halves(decode_batch(one.encoded))
        if parts is None:
            one.is_indivisible = True
            return False
        made = [QueuedBatch(encode_batch(part), one.segment, one.at) for part in parts]
        if one.segment is not None:
            one.segment.waiting += len(made) - 1
        self.bytes += sum(len(each.encoded) for each in made) - len(one.encoded)
        position = self._all.index(one)
        del self._all[position]
        for each in reversed(made):
            self._all.insert(position, each)
        self._queue()
        return True
