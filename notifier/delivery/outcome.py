"""What a sink's far end is to delivery: it takes alerts, puts us off, or refuses one.

The three answers keep apart what must never be confused: an outage dead-letters nothing, and only an alert that is
itself at fault leaves the line.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from schemas.alert import Alert


@dataclass(frozen=True, slots=True)
class RoutedAlert:
    """An alert on its way to one sink, with what the route that chose it asked for."""

    alert: Alert
    channel: str | None = None
    """Where within the sink, such as a Slack channel; None for the sink's own."""
    text: str | None = None
    """Text of the route's template, to use instead of the rule's."""
    more: tuple["RoutedAlert", ...] = ()
    """The same alert for other channels of the sink, where several routes say so."""

    @property
    def told(self) -> Alert:
        """The alert as this sink is to tell it: the route's text in place of the rule's."""
        return self.alert if self.text is None else replace(self.alert, output=self.text)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The far end has the first alerts of those that were offered."""

    count: int = 1


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The far end is down, busy, or won't let us in: the same alerts are offered again."""

    reason: str
    after: float | None = None
    """Seconds that it asked to wait (Retry-After); None if it didn't say."""


@dataclass(frozen=True, slots=True)
class RateLimited:
    """Nothing was tried: a limit of the far end's is not to be exceeded."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """The far end will never take the first alert as it is, or a message that held several."""

    reason: str
    together: int = 1
    """How many alerts the refused message held: which of them is at fault is found one by one."""


SendOutcome = Delivered | RetryLater | RateLimited | Undeliverable


class RemoteSink(Protocol):
    """A sink's far end. Blocks for a bounded time; never raises for what the outside world does."""

    most: int
    """How many alerts it looks at together; 1 for what takes one at a time."""

    def offer(self, parcels: Sequence[RoutedAlert]) -> SendOutcome:
        """Deliver the first parcel, or the first few at once."""

    def tend(self) -> None:
        """Look after connections while nothing is to be delivered."""

    def reopen(self) -> None:
        """Open anew what log rotation may have moved away."""

    def close(self) -> None:
        """Let go of connections."""
