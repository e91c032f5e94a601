"""The queues of a pipeline, and those of one host."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lanner.dead_letters.store import OUTBOX_ENDING
from lanner.errors import BadInput
from notifier.queue.database import DatabaseUnusable
from notifier.queue.outbox import Outbox
from schemas.text.counts import count_of
from schemas.text.durations import seconds_text

ReaderKind = Literal["processor", "sink", "reader"]


@dataclass(frozen=True, slots=True)
class PipelineQueue:
    """What waits for one reader."""

    kind: ReaderKind
    """Processors, a sink, or another reader, such as a SIEM."""
    name: str
    """The sink, or the consumer group."""
    source: str
    """The topic or the file."""
    waiting: int
    oldest: float | None
    """When the oldest of what waits was queued, wall clock, seconds; None if nothing waits, or if it isn't known."""
    readers: int | None = None
    """How many run; None if it isn't known."""


def outbox_queues(folder: Path) -> list[PipelineQueue]:
    """Return the queue of each sink with an outbox in a folder. Raises BadInput."""
    found = []
    for path in sorted(folder.glob(f"*{OUTBOX_ENDING}")):
        try:
            with closing(Outbox(path, capacity=1)) as outbox:
                name = path.name.removesuffix(OUTBOX_ENDING)
                found.append(PipelineQueue("sink", name, str(path), outbox.backlog(), outbox.oldest()))
        except DatabaseUnusable as error:
            raise BadInput(f"notifier.state_dir: {error}.") from None
    return found


def lateness(queues: Iterable[PipelineQueue], behind_seconds: float, now: float) -> str:
    """Return how late events are evaluated, as a sentence; empty if they are evaluated in time.

    Args:
        queues: what waits.
        behind_seconds: the age from which an event is late.
        now: wall clock, s.
    """
    late = [each for each in queues if each.kind == "processor" and each.oldest and now - each.oldest > behind_seconds]
    if not late:
        return ""
    worst = min(late, key=lambda queue: queue.oldest or now)
    age = seconds_text(now - (worst.oldest or now))
    return f"Evaluation is {age} behind: {count_of(worst.waiting, 'message')} of {worst.source} wait for processors."
