"""Searches portions of retained events, newest first, within limits."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from lanner.recorder.batches import StoredBatch
from lanner.recorder.event_rows import row_maker
from lanner.recorder.search.condition import SearchCondition
from processor.detection.budget import BatchBudget, BatchLimits, OverBudget, hits_of
from processor.detection.redaction import Redaction
from schemas.batch import EventBatch

SearchEnd = Literal["complete", "results", "bytes", "time", "stopped"]
"""Why a search ended: everything was searched, a limit was reached, or it was stopped."""
_REPORT_SECONDS = 0.25
_OF_A_BATCH = BatchLimits(seconds=5.0)


@dataclass(frozen=True, slots=True)
class EventPortion:
    """The events of a part of the time range."""

    since: int
    """Its start, ms since the epoch."""
    batches: Iterator[StoredBatch]
    """In any order, read as they are used."""


class RetainedEvents(Protocol):
    """Where events are retained; each method may raise BadInput and BusUnavailable."""

    bytes: int
    """Read so far."""
    remarks: list[str]
    """On what is not there; complete at the end."""

    @property
    def share(self) -> float:
        """How much of it has been read, from 0 to 1."""

    def portions(self, stop: Callable[[], bool]) -> Iterator[EventPortion]:
        """Yield the portions of the time range, newest first; stop is called between messages."""

    def close(self) -> None:
        """Stop reading."""


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """The most that a search may take."""

    results: int = 500
    bytes: int = 4 << 30
    seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """An event that matches."""

    time: int
    """Event time, ns since the epoch."""
    fields: dict[str, Any]
    """By name, as of `lanner events tail --format json`; redacted."""


@dataclass(slots=True)
class EventSearch:
    """One search. Its attributes may be read while it runs."""

    condition: SearchCondition
    events: RetainedEvents
    stop: Callable[[], bool]
    limits: SearchLimits = field(default_factory=SearchLimits)
    redaction: Redaction = field(default_factory=Redaction)
    clock: Callable[[], float] = time.monotonic
    count: int = 0
    """Events looked at."""
    found: int = 0
    searched_to: int = 0
    """How far back it has searched completely, ms since the epoch; 0 before the first portion is done."""
    end: SearchEnd | None = None
    """Why it ended; None if it runs."""
    faults: int = 0
    """Events that could not be evaluated, and batches that took too long."""
    _until: float = 0.0

    def run(self) -> Iterator[Sequence[FoundEvent]]:
        """Yield what each portion has, newest first, and nothing now and then in between, to show progress.

        Raises:
            BadInput: a recording can't be read.
            BusUnavailable: the broker is away.
        """
        self._until = self.clock() + self.limits.seconds
        for portion in self.events.portions(self._is_over):
            left = self.limits.results - self.found
            newest: list[FoundEvent] = []
            report_at = self.clock() + _REPORT_SECONDS
            for stored in portion.batches:
                newest += self._search(stored.batch)
                if len(newest) > 2 * left + _OF_A_BATCH.results:
                    newest = _newest(newest, left + 1)
                if self._is_over():
                    break
                if self.clock() >= report_at:
                    report_at = self.clock() + _REPORT_SECONDS
                    yield ()
            if self.end is None:
                if len(newest) >= left:
                    self.end = "results"
                if len(newest) <= left:
                    self.searched_to = portion.since
            shown = _newest(newest, left)
            self.found += len(shown)
            yield shown
            if self.end is not None:
                return
        self.end = self.end or "complete"

    def _is_over(self) -> bool:
        if self.end is None:
            if self.stop():
                self.end = "stopped"
            elif self.clock() >= self._until:
                self.end = "time"
            elif self.events.bytes >= self.limits.bytes:
                self.end = "bytes"
        return self.end is not None

    def _search(self, batch: EventBatch) -> Iterator[FoundEvent]:
        self.count += batch.count
        make: Callable[[int], dict[str, Any]] | None = None
        try:
            for index, _ in hits_of(batch, self.condition.matchers, self._fault, BatchBudget(_OF_A_BATCH)):
                if make is None:
                    make = row_maker(batch, self.redaction)
                yield FoundEvent(batch.columns["time"][index], make(index))
        except OverBudget:
            self.faults += 1

    def _fault(self, _: int, __: BaseException) -> None:
        self.faults += 1


def _newest(events: list[FoundEvent], count: int) -> list[FoundEvent]:
    return sorted(events, key=lambda each: each.time, reverse=True)[:count]
