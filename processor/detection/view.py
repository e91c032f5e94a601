"""Limits the cost of evaluating one batch: a small message of a compromised host can cause a lot of work.

An honest collector's batch never reaches the limits. The first alerts go out whole; once they have taken their share of
bytes, the others go out in short, so that nobody who fills a batch can keep the alerts of others from people. What is
beyond all limits is not evaluated: the caller reports it and dead-letters the message.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from foundation.errors import LannerError
from processor.compiler.batch import ClassMatcher, Match
from schemas.alert import Alert, bounded
from schemas.batch import EventBatch
from schemas.limits import MAX_TEXT_BYTES, Texts

EVENTS_BETWEEN_LOOKS = 64
"""The number of events evaluated between two readings of the clock."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The limits of one batch."""

    seconds: float = 5.0
    """Processor time of this thread."""
    results: int = 5_000
    """Alerts and pre-matches: a collector's batch has at most 500 events."""
    whole_characters: int = 16 << 20
    """Characters of the alerts that are sent in full; later ones are shortened."""


LIMITS = BatchLimits()
BOUNDLESS = BatchLimits(float("inf"), 1 << 62, 1 << 62)
"""For replay, rule tests and measurements, which people can interrupt."""


class OverBudget(LannerError):
    """A batch costs more than the limit; the message names the limit, for people."""


class BatchBudget:
    """The remaining budget of one batch."""

    def __init__(
        self,
        limits: BatchLimits = LIMITS,
        *,
        clock: Callable[[], float] = time.perf_counter,
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        """Begin with all of it.

        Args:
            limits: what it may cost.
            clock: seconds; cheap, and looked at often.
            spent: processor time, seconds; looked at where the clock says that it may be too much, so that a process
                that hung in between is not taken for a batch that costs much.
        """
        self.alerts: list[Alert] = []
        """The alerts of the batch, bounded; they remain valid if it exceeds its budget later."""
        self.evaluated = 0
        """Events that were certainly evaluated."""
        self.over = ""
        """The exceeded limit, for people; empty if none."""
        self.shortened = 0
        """Results that were shortened."""
        self._limits = limits
        self._clock, self._spent = clock, spent
        self._began, self._spent_before = clock(), spent()
        self._results = 0
        self._characters = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning, by the clock."""
        return self._clock() - self._began

    @property
    def seconds(self) -> float:
        """Processor time since the beginning."""
        return self._spent() - self._spent_before

    def look(self, evaluated: int) -> None:
        """Check that time is left.

        Args:
            evaluated: the number of events evaluated so far.

        Raises:
            OverBudget: there is none.
        """
        self.evaluated = evaluated
        most = self._limits.seconds
        if self.elapsed > most and self.seconds > most:
            raise self._exceeded(f"evaluating it took more than {most:g} s")

    def count_result(self) -> None:
        """Count an alert or a pre-match before it is made. Raises OverBudget if there are too many."""
        self._results += 1
        if self._results > self._limits.results:
            raise self._exceeded(f"it makes more than {self._limits.results} alerts and matches")

    def bounded(self, alert: Alert) -> Alert:
        """Return an alert within its size limit; shortened once the batch has made many bytes."""
        return bounded(alert, self.fitted)

    def fitted(self, texts: Texts) -> Texts:
        """Return the texts of an alert or a candidate, within the limits."""
        if self._characters > self._limits.whole_characters:
            self.shortened += 1
            return texts.short()
        characters = texts.characters
        # A character takes at most four bytes: nearly every alert passes here.
        if 4 * characters > MAX_TEXT_BYTES:
            texts = texts.within()
            characters = texts.characters
        self._characters += characters
        return texts

    def _exceeded(self, what: str) -> OverBudget:
        self.over = what
        return OverBudget(what)


def hits_of(
    batch: EventBatch,
    matchers: Mapping[str, ClassMatcher],
    on_fault: Callable[[int, BaseException], None],
    budget: BatchBudget,
) -> Iterator[tuple[int, Sequence[tuple[int, int]]]]:
    """Yield each event that matches, in order: its index, and the rules with the file name that matched.

    Args:
        batch: a validated batch.
        matchers: the compiled rules by event type.
        on_fault: receives the index of a rule that raised, and the error.
        budget: what the batch may cost.

    Raises:
        OverBudget: the batch costs more; the remaining events are not evaluated.
    """
    strings, types = batch.strings, batch.columns["type"]
    matches: list[Match | bool | None] = [None] * len(strings)
    for first in range(0, batch.count, EVENTS_BETWEEN_LOOKS):
        budget.look(first)
        for index, type_index in enumerate(types[first : first + EVENTS_BETWEEN_LOOKS], first):
            match = matches[type_index]
            if match is None:
                matcher = matchers.get(strings[type_index] or "")
                match = matches[type_index] = False if matcher is None else matcher.bind(batch, on_fault)
            if match is False:
                continue
            hits = match(index)  # type: ignore[operator]
            if hits:
                yield index, hits
    budget.look(batch.count)
