"""What an event does to a window, and the words that all windows share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from processor.correlation.pre_match import EventKey
from schemas.alert import Value

ALLOWED_LATENESS = 60_000_000_000
"""How much older than its window an event may be before it counts as late, ns."""


class UpdateOutcome(Enum):
    """Whether an event was taken."""

    TAKEN = "taken"
    STALE = "stale"
    """Already applied, or overtaken by newer ones that the window keeps: it changes nothing."""
    LATE = "late"
    """Older than the window and its lateness allow."""
    LEARNING = "learning"
    """Its value is unknown, but the group is still learning, or had no room for a value: it may not be new."""
    FULL = "full"
    """Its value is unknown, and the group has no room for it."""


@dataclass(frozen=True, slots=True)
class LegEvent:
    """What a window keeps of an event of a leg."""

    stamp: EventKey
    hostname: str = ""
    stored: Mapping[str, Value] = field(default_factory=dict)
    """The fields that outputs name."""

    @property
    def time(self) -> int:
        """Event time, ns."""
        return self.stamp[0]


@dataclass(frozen=True, slots=True)
class Fired:
    """A window that is met, with the values of ``%correlation``."""

    count: int
    first: int
    """Event time of the oldest event that counts, ns."""
    last: int
    values: tuple[str, ...] = ()
    legs: tuple[tuple[str, LegEvent], ...] = ()
    unmet: int = 0
    """Number of folded events that came before the window was met."""


def is_late(newest: int, time: int, timespan: int, lateness: int = ALLOWED_LATENESS) -> bool:
    """Return whether an event is too late to be applied.

    Args:
        newest: time of the group's newest event, ns.
        time: the event's, ns.
        timespan: the window's length, ns.
        lateness: what it may be older than that, ns.
    """
    return newest - time > timespan + lateness
