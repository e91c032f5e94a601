"""What evaluating one batch may cost, since a small message of a host that is taken over can stand for a lot of work.

An honest collector's batch never reaches the limits. The first alerts go out whole; once they have taken their share of
bytes, the others go out in short, so that nobody who fills a batch can keep the alerts of others from people. What is
beyond all limits is not evaluated: whoever evaluates says so, and keeps the message.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from schemas.alert import Alert, bounded
from schemas.errors import LannerError
from schemas.text.limits import MAX_TEXT_BYTES, Texts

EVENTS_BETWEEN_LOOKS = 64
"""How many events are evaluated between two looks at the clock."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What one batch may cost."""

    seconds: float = 5.0
    """Processor time of this thread."""
    results: int = 5_000
    """Alerts and pre-matches: a collector's batch has at most 500 events."""
    whole_characters: int = 16 << 20
    """Of the alerts that go out whole; those after them go out in short."""


LIMITS = BatchLimits()
BOUNDLESS = BatchLimits(float("inf"), 1 << 62, 1 << 62)
"""For replay, rule tests and measurements: whoever waits for those can stop them."""


class OverBudget(LannerError):
    """A batch costs more than one may; the message says what of it, for people."""


class BatchBudget:
    """What is left of one batch's budget."""

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
        """Those that the batch has made, bounded; they stand if it goes over its budget later."""
        self.evaluated = 0
        """Events that have been evaluated for certain."""
        self.over = ""
        """What it costs too much of, for people; empty where it doesn't."""
        self.shortened = 0
        """Results that went out in short."""
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
        """Look whether there is time left.

        Args:
            evaluated: how many events have been evaluated so far.

        Raises:
            OverBudget: there is none.
        """
        self.evaluated = evaluated
        most = self._limits.seconds
        if self.elapsed > most and self.seconds > most:
            raise self._exceeded(f"evaluating it took more than {most:g} s")

    def count_result(self) -> None:
        """Take note of an alert or a pre-match before it is made. Raises OverBudget: there are too many."""
        self._results += 1
        if self._results > self._limits.results:
            raise self._exceeded(f"it makes more than {self._limits.results} alerts and matches")

    def bounded(self, alert: Alert) -> Alert:
        """Return an alert as it goes out: no larger than one may be, in short once the batch has made many bytes."""
        return bounded(alert, self.fitted)

    def fitted(self, texts: Texts) -> Texts:
        """Return the texts of an alert, or of one to be, as they go out."""
        if self._characters > self._limits.whole_characters:
            self.shortened += 1
            return texts.short()
        characters = texts.characters
        # No character takes more than four bytes: nearly every alert is done with here.
        if 4 * characters > MAX_TEXT_BYTES:
            texts = texts.within()
            characters = texts.characters
        self._characters += characters
        return texts

    def _exceeded(self, what: str) -> OverBudget:
        self.over = what
        return OverBudget(what)
