"""How long a value counts as known, and the records of what is known.

Sightings are compared by their arrival, the broker's time of their batch, never by the time that a host claims: no
clock of a host can end a learning period or make values old. A value stays known for the lookback after its newest
sighting, rounded up to a 64th of it, so that a value that is seen all the time is written 64 times in a lookback and
not with each event.
"""

from dataclasses import dataclass

PARTS = 64
"""A lookback's parts: the precision of its end."""
_SECOND = 1_000_000_000
_SLACK = 8
"""Parts for which a value is stored longer, since a part of the events may be processed late."""


@dataclass(frozen=True, slots=True)
class SeenGroup:
    """What is known of a group, without its values."""

    begun: int
    """Arrival of its first event, ns."""
    overflows: tuple[tuple[int, int], ...] = ()
    """The shares for whose values there was no room, and since when, s."""


@dataclass(frozen=True, slots=True)
class SeenValue:
    """One value of a group."""

    value: str
    seen: int
    """Arrival of the newest sighting, s; 0 marks a value that was forgotten."""
    mark: int = 0
    """Identifies the event for which the value was new, so that its redelivery is recognized."""
    share: int = 0
    """Toward which it counts; 0 if only the host is known."""
    is_private: bool = False
    """Whether it is known for its share alone."""


@dataclass(frozen=True, slots=True)
class Span:
    """The times of a macro."""

    lookback: int
    """s."""
    learning: int
    """ns."""

    @classmethod
    def of(cls, lookback: int, learning: int) -> "Span":
        """Return the span of a macro; both in ns."""
        return cls(max(1, lookback // _SECOND), learning)

    @property
    def part(self) -> int:
        """The length of a part, s."""
        return max(1, self.lookback // PARTS)

    def is_known(self, seen: int, arrival: int) -> bool:
        """Return whether a value seen at one time is still known at another; both in s."""
        return arrival // self.part - seen // self.part <= self._parts

    def is_past(self, seen: int, now: int) -> bool:
        """Return whether no event can need a sighting any longer; both in s."""
        return now // self.part - seen // self.part > self._parts + _SLACK

    def is_newer(self, arrival: int, seen: int) -> bool:
        """Return whether a sighting is worth being written in place of another; both in s."""
        return arrival // self.part > seen // self.part

    @property
    def _parts(self) -> int:
        return -(-self.lookback // self.part)


def seconds_of(arrival: int) -> int:
    """Return a time in s. arrival: ns."""
    return arrival // _SECOND
