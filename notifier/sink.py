"""The protocol that every sink implements."""

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from foundation.histogram import Histogram
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
    """The sink will never accept the first alert, or a message that contains several."""

    reason: str
    together: int = 1
    """Alerts in the refused message. They are sent one by one to find the one at fault."""


SendOutcome = Delivered | RetryLater | RateLimited | Undeliverable


class Sink(ABC):
    """Delivers alerts to a file, a daemon, a service or a topic.

    Each method returns within a bounded time. None raises for a failure of the outside world: `send` returns it.
    """

    batch_size = 1
    """How many alerts one call of `send` can use; 1 for a sink that sends one at a time."""

    @abstractmethod
    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        """Deliver the first alert, or the first few in one message, of at most `batch_size`, oldest first.

        Return how many were delivered, or why none was.
        """

    def idle(self) -> None:  # noqa: B027  what most need not
        """Maintain connections while there is nothing to deliver."""

    def reopen(self) -> None:  # noqa: B027
        """Reopen files and connections, for example after log rotation."""

    def close(self) -> None:  # noqa: B027
        """Close files and connections."""


@dataclass(slots=True)
class SinkStats:
    """Counters of one sink, written by its own thread and read by metrics."""

    sent: int = 0
    retried: int = 0
    """Failed attempts."""
    dead_lettered: int = 0
    duplicates: int = 0
    not_routed: int = 0
    """Excluded by a route or by the sink's minimum priority."""
    muted: int = 0
    condition_faults: int = 0
    """Alerts on which a condition or template of a route or mute raised an exception."""
    lost: int = 0
    """The sink failed and has no queue, or its outbox could not be written."""
    latency: Histogram = field(default_factory=Histogram)
    """From event to delivery."""
    clock: Callable[[], int] = time.time_ns

    def delivered(self, event_time: int) -> None:
        """Count the delivery of an event that happened at event_time, ns since the epoch."""
        self.sent += 1
        self.latency.add_since(event_time, self.clock())


@dataclass(slots=True)
class IntakeStats:
    """Counts of requests with an alert."""

    taken: int = 0
    refused: int = 0
    """Wrong token, not an alert, or too large."""
    failed: int = 0
    """The bus did not store it in time. The sender decides whether to retry."""
    closed: Counter[str] = field(default_factory=Counter)
    """Connections that the server closed, by reason."""
