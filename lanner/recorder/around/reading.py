"""Reads the events of one host around a time, with what was not collected then."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, TypeVar

from lanner.recorder.batches import StoredBatch
from lanner.recorder.coverage import RecordingCoverage
from lanner.recorder.timeline import IsTrigger, Timeline, TimelineEntry, TimelineRange, Write

_EARLIER = 20_000_000_000
"""ns; batches state every 15 s what is collected."""
Shown = TypeVar("Shown")
OnBatch = Callable[[StoredBatch], None]


@dataclass(frozen=True, slots=True)
class HostContext(Generic[Shown]):
    """The events of a host around a time."""

    timeline: Timeline[Shown]
    coverage: RecordingCoverage

    def entries(self) -> list[TimelineEntry[Shown]]:
        """Return the events in order."""
        before, after = self.timeline.lines()
        return [*before, *after]


def read_context(
    batches: Generator[StoredBatch],
    window: TimelineRange,
    is_trigger: IsTrigger,
    write: Write[Shown],
    limit: int,
    *,
    stop: Callable[[], bool],
    on_batch: OnBatch = lambda _: None,
) -> HostContext[Shown]:
    """Read the events of a host in a time range.

    Args:
        batches: of the host, in order, from a little before the range on; closed at the end.
        window: the time range.
        is_trigger: identifies the event that it is about.
        write: returns what to store of an event.
        limit: maximum number of events before that event, and after it.
        stop: called between batches; True ends reading.
        on_batch: called with each batch.
    """
    timeline = Timeline(window, is_trigger, write, limit)
    coverage = RecordingCoverage()
    with closing(batches):
        for stored in batches:
            on_batch(stored)
            timeline.take(stored.batch)
            if timeline.is_past or stop():
                break
            if stored.batch.created >= window.start - _EARLIER:
                coverage.see(stored)
    return HostContext(timeline, coverage)
