"""A limit on the cost of evaluating one message: a small one of a compromised host can cause a lot of work.

An honest collector's batch never reaches the limits. The first alerts go out whole; once they have taken their share of
bytes, the others go out in short, so that nobody who fills a batch can keep the alerts of others from people. What is
beyond all limits is not evaluated: the caller reports it and dead-letters the message.
"""

import time
from dataclasses import dataclass

from foundation.errors import LannerError
from schemas.alert import Alert, bounded
from schemas.limits import MAX_TEXT_BYTES, Texts


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """The limits of one batch."""

    seconds: float = 5.0
    """Processor time of this thread."""
    results: int = 5_000
    """Alerts and pre-matches: a collector's batch has at most 500 events."""
    whole_characters: int = 16 << 20
    """Characters of the alerts that are sent in full; later ones are shortened."""


LIMITS = BudgetLimits()


BOUNDLESS = BudgetLimits(float("inf"), 1 << 62, 1 << 62)
"""For replay, rule tests and measurements, which people can interrupt."""


class OverBudget(LannerError):
    """A batch costs more than the limit; the message names the limit, for people."""


class Budget:
    """The remaining budget of one batch."""

    def __init__(self, limits: BudgetLimits = LIMITS) -> None:
        """Begin with all of it. limits: what the batch may cost."""
        self.alerts: list[Alert] = []
        """The alerts of the batch, bounded; they remain valid if it exceeds its budget later."""
        self.evaluated = 0
        """Events that were certainly evaluated."""
        self.over = ""
        """The exceeded limit, for people; empty if none."""
        self.shortened = 0
        """Results that were shortened."""
        self._limits = limits
        self._results = 0
        self._characters = 0
        self.restart_clocks()

    def restart_clocks(self) -> None:
        """Begin with all of the time again: what was done until now is not the batch's cost."""
        self._began, self._spent_before = time.perf_counter(), time.thread_time()

    @property
    def is_bounded(self) -> bool:
        """True if others wait for what comes after the batch."""
        return self._limits is not BOUNDLESS

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning, by the clock."""
        return time.perf_counter() - self._began

    @property
    def seconds(self) -> float:
        """Processor time since the beginning."""
        return time.thread_time() - self._spent_before

    def look(self, evaluated: int) -> None:
        """Check that time is left.

        Args:
            evaluated: the number of events evaluated so far.

        Raises:
            OverBudget: there is none.
        """
        self.evaluated = evaluated
        most = self._limits.seconds
        # The clock is cheap; a process that hung in between is not a batch that costs much.
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
