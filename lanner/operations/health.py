"""Whether a stage is alive and able to work, in words: one line a check."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from schemas.text.printable import printable


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One thing that was looked at."""

    name: str
    is_good: bool
    told: str
    """How it is; where it is bad, what to look at."""

    def __str__(self) -> str:
        return f"{'ok' if self.is_good else 'bad'}: {self.name}: {printable(self.told)}"


@dataclass(frozen=True, slots=True)
class Health:
    """What a stage says of itself; each is called on the server's threads and only looks."""

    alive: Callable[[], Sequence[HealthCheck]]
    """Its loops turn; where not, only a new start helps."""
    well: Callable[[], Sequence[HealthCheck]]
    """What else is bad when it has been bad for long."""
    ready: Callable[[], Sequence[HealthCheck]]
    """Whether it can do its work now."""


def turning(name: str, turned_at: float, now: float, limit: float) -> HealthCheck:
    """Judge a loop by when it last came round; all in seconds, by one clock."""
    age = now - turned_at
    if age < limit:
        return HealthCheck(name, is_good=True, told="turns")
    return HealthCheck(
        name, is_good=False, told=f"has not come round for {age:.0f} s: it hangs, or has far too little CPU"
    )


def report(checks: Iterable[HealthCheck]) -> tuple[bool, str]:
    """Give whether all is good, and a line for each check, the bad ones first."""
    ordered = sorted(checks, key=lambda check: check.is_good)
    return all(check.is_good for check in ordered), "".join(f"{check}\n" for check in ordered)
