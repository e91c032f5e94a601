"""What a sink is given, and what it returns.

The outcomes separate failures of the sink from faults of an alert. An outage dead-letters nothing; only an alert that
is itself at fault leaves the queue undelivered.
"""

from dataclasses import dataclass, replace

from schemas.alert import Alert


@dataclass(frozen=True, slots=True)
class RoutedAlert:
    """An alert for one sink, with what its route sets."""

    alert: Alert
    channel: str | None = None
    """Destination within the sink, such as a Slack channel; None for the sink's default."""
    text: str | None = None
    """Text of the route's template, which replaces the rule's output."""
    more: tuple["RoutedAlert", ...] = ()
    """The same alert for other channels of the sink, if several routes match."""

    @property
    def rendered(self) -> Alert:
        """The alert with the route's text in place of the rule's output."""
        return self.alert if self.text is None else replace(self.alert, output=self.text)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The sink accepted the first `count` alerts."""

    count: int = 1


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The sink is down, busy or rejects our credentials: the same alerts are sent again."""

    reason: str
    after: float | None = None
    """Seconds that the sink asked to wait (Retry-After); None if it did not."""


@dataclass(frozen=True, slots=True)
class RateLimited:
    """Nothing was sent, to stay within a rate limit of the sink."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """The sink will never accept the first alert, or a message that holds several."""

    reason: str
    together: int = 1
    """Alerts in the refused message. They are sent one by one to find the one at fault."""


SendOutcome = Delivered | RetryLater | RateLimited | Undeliverable
