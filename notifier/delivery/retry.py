"""When to send again and when to dead-letter: a state machine with time as an argument.

Pure: no clock, no sleep, no I/O, so a test of a 30-minute outage takes a millisecond.
"""

from collections.abc import Callable
from dataclasses import dataclass

from foundation.backoff import Backoff
from notifier.sink import Delivered, RateLimited, RetryLater, SendOutcome, Undeliverable


@dataclass(frozen=True, slots=True)
class QueueDelivered:
    """The first `count` alerts of the queue were delivered."""

    count: int


@dataclass(frozen=True, slots=True)
class QueueDeadLettered:
    """The first alert of the queue becomes a dead letter."""

    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class QueueWaiting:
    """No alert leaves the queue."""

    reason: str | None
    """The failure; None if a rate limit is observed."""


Step = QueueDelivered | QueueDeadLettered | QueueWaiting


class RetryPolicy:
    """Retry state of one sink."""

    def __init__(self, backoff: Backoff, draw: Callable[[], float]) -> None:
        """Start without failures; draw returns random numbers from 0 to 1, for jitter."""
        self._backoff = backoff
        self._draw = draw
        self._not_before = 0.0
        self._one_by_one = 0
        self.failures = 0
        """Consecutive failed attempts."""
        self.failing_since: float | None = None

    def wait(self, now: float) -> float:
        """Return the seconds until the next attempt; 0 if it may start now."""
        return max(0.0, self._not_before - now)

    def limit(self, batch_size: int) -> int:
        """Return how many alerts to send: one at a time after a refusal, to find the one at fault."""
        return 1 if self._one_by_one else batch_size

    def record(self, outcome: SendOutcome, now: float) -> Step:
        """Record the outcome of an attempt and return what to do with the queue. now: monotonic time, seconds."""
        match outcome:
            case Delivered(count):
                self._one_by_one = max(0, self._one_by_one - count)
                self.reset()
                return QueueDelivered(count)
            case RateLimited(seconds):
                self._not_before = now + seconds
                return QueueWaiting(None)
            case RetryLater(reason, after):
                self.failures += 1
                self.failing_since = now if self.failing_since is None else self.failing_since
                self._not_before = now + self._backoff.seconds(self.failures, after, self._draw())
                return QueueWaiting(reason)
            case Undeliverable(reason, together):
                if together > 1:
                    self._one_by_one = together
                    return QueueWaiting(reason)
                attempts = self.failures + 1
                self._one_by_one = max(0, self._one_by_one - 1)
                # A refusal is an answer: the sink is up.
                self.reset()
                return QueueDeadLettered(reason, attempts)

    def reset(self) -> None:
        """Clear failures and back-off."""
        self.failures = 0
        self.failing_since = None
        self._not_before = 0.0
