"""Health checks of a stage, as text: one line per check."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from foundation.text import printable
from lanner.operations.catalogue import Value
from lanner.operations.freshness import SUBJECTS, Freshness


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One check and its result."""

    name: str
    is_good: bool
    detail: str
    """The state; if bad, what to look at."""
    is_degraded: bool = False
    """True if it works, but not as it should: people are to look, but a restart or less traffic won't help."""

    def __str__(self) -> str:
        state = "bad" if not self.is_good else "degraded" if self.is_degraded else "ok"
        return f"{state}: {self.name}: {printable(self.detail)}"


@dataclass(frozen=True, slots=True)
class Health:
    """A stage's checks; they are called on the server's threads and don't change anything."""

    alive: Callable[[], Sequence[HealthCheck]]
    """True if its loops are running; if not, only a restart helps."""
    well: Callable[[], Sequence[HealthCheck]]
    """Further conditions that are unhealthy when they last."""
    ready: Callable[[], Sequence[HealthCheck]]
    """True if it can do its work now."""


def turning(name: str, turned_at: float, now: float, limit: float) -> HealthCheck:
    """Check a loop by the time of its latest iteration; all in seconds, by one clock."""
    age = now - turned_at
    if age < limit:
        return HealthCheck(name, is_good=True, detail="running")
    return HealthCheck(name, is_good=False, detail=f"no iteration for {age:.0f} s: it hangs, or lacks CPU")


def degraded(current: Freshness | None) -> list[HealthCheck]:
    """Return a check for each problem: people are to look, but a restart won't help."""
    return [
        HealthCheck(f"{each.subject} {each.name}", is_good=True, detail=each.text, is_degraded=True)
        for each in (() if current is None else current.problems)
    ]


def problem_readings(current: Freshness | None) -> dict[tuple[str, ...], Value]:
    """Return the number of problems by subject; 0 for each subject without one."""
    numbers = Counter(each.subject for each in (() if current is None else current.problems))
    return {(subject,): numbers[subject] for subject in SUBJECTS}


class Beat:
    """The time of a loop's latest iteration."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.at = clock()

    def beat(self) -> None:
        """Record an iteration."""
        self.at = self._clock()

    def health(self, stuck_seconds: float, ready: Callable[[], Sequence[HealthCheck]]) -> Health:
        """Return the checks of a stage with one loop, which may take so long for an iteration."""
        return Health(lambda: [turning("loop", self.at, self._clock(), stuck_seconds)], tuple, ready)


def report(checks: Iterable[HealthCheck]) -> tuple[bool, str]:
    """Return whether all checks are good, and a line for each: bad ones first, then degraded ones."""
    ordered = sorted(checks, key=lambda check: (check.is_good, not check.is_degraded))
    return all(check.is_good for check in ordered), "".join(f"{check}\n" for check in ordered)
