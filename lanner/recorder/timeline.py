"""The events of one host around a time, in bounded memory.

Pure: takes batches, returns what is shown of its events.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from schemas.alert import alert_id
from schemas.batch import EventBatch

IsTrigger = Callable[[EventBatch, int], bool]
"""Takes a batch and the index of an event; returns whether that event raised the alert."""
Shown = TypeVar("Shown")
"""What is stored of an event, such as its text."""
Write = Callable[[EventBatch], Callable[[int], Shown]]
"""Takes a batch; returns a function from an event's index to what is stored of it."""

_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class TimelineRange:
    """The time range, ns since the epoch."""

    start: int
    alert: int
    end: int


@dataclass(frozen=True, slots=True)
class TimelineEntry(Generic[Shown]):
    """One event."""

    shown: Shown
    is_trigger: bool


class Timeline(Generic[Shown]):
    """Takes the batches of one host in order, and stores the events nearest to the alert."""

    def __init__(self, window: TimelineRange, is_trigger: IsTrigger, write: Write[Shown], limit: int) -> None:
        """Initialize the timeline.

        Args:
            window: the time range.
            is_trigger: identifies the event that raised the alert.
            write: returns what to store of an event.
            limit: maximum number of events before the alert, and after it.
        """
        self.window = window
        self._is_trigger = is_trigger
        self._write = write
        self._limit = limit
        self._before: deque[TimelineEntry[Shown]] = deque(maxlen=limit)
        self._after: list[TimelineEntry[Shown]] = []
        self.is_found = False
        """Whether the alert's event was found."""
        self.is_past = False
        """Whether events after the range have arrived, so that no more events of it will."""
        self.too_early = 0
        """Events of the range that were dropped before the stored ones."""
        self.too_late = 0
        """Events of the range that were dropped after the stored ones."""

    def take(self, batch: EventBatch) -> None:
        """Add a batch; its times are the broker's."""
        times = batch.columns["time"]
        if not batch.count:
            self.is_past = self.is_past or batch.created > self.window.end
            return
        if min(times) > self.window.end:
            self.is_past = True
            return
        if max(times) < self.window.start:
            return
        show = self._write(batch)
        for index, time in enumerate(times):
            if self.window.start <= time <= self.window.end:
                self._put(batch, index, time, show)

    def lines(self) -> tuple[list[TimelineEntry[Shown]], list[TimelineEntry[Shown]]]:
        """Return the events up to and including the one that raised the alert, and the events after it."""
        return list(self._before), list(self._after)

    def _put(self, batch: EventBatch, index: int, time: int, show: Callable[[int], Shown]) -> None:
        is_trigger = time // _MS == self.window.alert // _MS and self._is_trigger(batch, index)
        self.is_found = self.is_found or is_trigger
        if is_trigger or (time <= self.window.alert and not self.is_found):
            self.too_early += len(self._before) == self._limit
            self._before.append(TimelineEntry(show(index), is_trigger))
        elif len(self._after) < self._limit:
            self._after.append(TimelineEntry(show(index), is_trigger=False))
        else:
            self.too_late += 1


def by_number(time: int, number: object) -> IsTrigger:
    """Return a function that finds an alert's event by its time and evt.num."""

    def is_trigger(batch: EventBatch, index: int) -> bool:
        return batch.columns["time"][index] == time and str(batch.first_number + index) == str(number)

    return is_trigger


def by_id(identity: str, rules: frozenset[str]) -> IsTrigger:
    """Return a function that finds the event of an alert by its id and the possible rules, if they are stateless."""

    def is_trigger(batch: EventBatch, index: int) -> bool:
        cause = (batch.host_id, batch.boot_id, batch.collector_start, batch.sequence, batch.first_index + index)
        time = batch.columns["time"][index]
        return any(alert_id(time, rule, *cause) == identity for rule in rules)

    return is_trigger
