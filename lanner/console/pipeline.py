"""The ports of the view Pipeline: what it reads, and its actions."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from bus.connection import BusUnavailable
from foundation.sqlite import DatabaseUnusable
from lanner.console.workers import PatientReading, on_thread
from lanner.dead_letters import OUTBOX_ENDING, DeadLetterFilter, DeadLetterStore, StoredDeadLetter, chosen
from lanner.errors import BadInput
from lanner.operations.freshness import Freshness, FreshnessLimits, PipelineQueue, freshness
from notifier.outbox import Outbox


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


SHOWN = 200
"""Dead letters."""
WAIT_SECONDS = 4.0
REPLAY_SECONDS = 60.0
_FRESH_SECONDS, _FRESH_LETTERS_SECONDS = 2.0, 10.0


@dataclass(frozen=True, slots=True)
class PipelineSource:
    """Where a console finds queues and dead letters."""

    queues: Callable[[], Sequence[PipelineQueue]]
    """Raises BadInput and BusUnavailable."""
    stores: Callable[[], AbstractContextManager[Sequence[DeadLetterStore]]]
    """Opens the dead letters; raises the same."""
    remarks: Sequence[str] = field(default_factory=tuple)
    """The facts that are not known here, as sentences."""
    current: Callable[[], Freshness | None] | None = None
    """Returns how current detection is, without waiting; None if the queues show it."""


@dataclass(frozen=True, slots=True)
class ShownDeadLetters:
    """The oldest dead letters."""

    letters: Sequence[StoredDeadLetter]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Replay:
    """The result of a replay."""

    ids: Sequence[str]
    """Dead letters that were sent again."""
    problem: str
    """Why the others were not; empty if all were."""


class PipelineDesk:
    """Reads queues and dead letters for all pages together; replays dead letters one request after the other."""

    def __init__(self, source: PipelineSource, limits: FreshnessLimits) -> None:
        """Take what a console reads, and from when on something is late."""
        self.remarks = source.remarks
        self._limits = limits
        self._source = source
        self.queues: PatientReading[Sequence[PipelineQueue]] = PatientReading(
            source.queues,
            seconds=WAIT_SECONDS,
            fresh_seconds=_FRESH_SECONDS,
            late=f"No answer within {WAIT_SECONDS:.0f} s; read the page again.",
        )
        self.letters: PatientReading[ShownDeadLetters] = PatientReading(
            self._letters,
            seconds=WAIT_SECONDS,
            fresh_seconds=_FRESH_LETTERS_SECONDS,
            late="They are still being read; read the page again.",
        )
        self._replaying = asyncio.Lock()

    @property
    def freshness(self) -> Freshness | None:
        """How current detection is, as far as is known without waiting; None if nothing was read yet."""
        if self._source.current is not None:
            return self._source.current()
        queues = self.queues.latest()
        return None if queues is None else freshness(time.time(), self._limits, queues)

    async def check(self) -> None:
        """Raise NotReadable if the dead letters can't be reached."""
        await on_thread(self._check, WAIT_SECONDS, self.queues.late)

    async def replay(self, ids: Sequence[str]) -> Replay:
        """Send dead letters again. Raises NotReadable if it can't begin, or takes too long."""
        async with self._replaying:
            try:
                late = "This takes long and goes on; read the page again to see what is left."
                return await on_thread(lambda: self._replay(ids), REPLAY_SECONDS, late)
            finally:
                self.letters.forget()
                self.queues.forget()

    def _check(self) -> None:
        with self._source.stores():
            pass

    def _letters(self) -> ShownDeadLetters:
        with self._source.stores() as stores:
            found = list(islice(_oldest(stores), SHOWN + 1))
        return ShownDeadLetters(found[:SHOWN], len(found) > SHOWN)

    def _replay(self, ids: Sequence[str]) -> Replay:
        replayed: list[str] = []
        try:
            with self._source.stores() as stores:
                if not stores:
                    return Replay((), "there are no dead letters.")
                for store, letters in chosen(stores, ids, DeadLetterFilter()):
                    store.replay(letters)
                    replayed += (each.id for each in letters)
        except (BadInput, BusUnavailable) as error:
            return Replay(replayed, str(error))
        return Replay(replayed, "")


def _oldest(stores: Sequence[DeadLetterStore]) -> Iterator[StoredDeadLetter]:
    for store in stores:
        yield from store.dead_letters()
