"""When to offer alerts to a sink again, and when to give one up: a state machine with time as an argument.

Pure: no clock, no sleep, no I/O, so that an outage of half an hour is tested in a millisecond.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bus.clients.backoff import Backoff
from notifier.delivery.outcome import Delivered, RateLimited, RetryLater, SendOutcome, Undeliverable


@dataclass(frozen=True, slots=True)
class QueueDelivered:
    """The first so many alerts are delivered."""

    count: int


@dataclass(frozen=True, slots=True)
class QueueDeadLettered:
    """The first alert is for the dead letters."""

    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class QueueWaiting:
    """Nothing left the line."""

    reason: str | None
    """Why, if something went wrong; None where a limit is kept."""


Step = QueueDelivered | QueueDeadLettered | QueueWaiting


class RetryPolicy:
    """One sink's line, as far as time and failures go."""

    def __init__(self, backoff: Backoff, draw: Callable[[], float]) -> None:
        """Begin with nothing wrong; draw gives random numbers from 0 to 1."""
        self._backoff = backoff
        self._draw = draw
        self._not_before = 0.0
        self._one_by_one = 0
        self.failures = 0
        """Attempts in a row that failed."""
        self.failing_since: float | None = None

    def wait(self, now: float) -> float:
        """Give the seconds until the next attempt; 0 if it may be made now."""
        return max(0.0, self._not_before - now)

    def limit(self, most: int) -> int:
        """Give how many alerts to offer: one at a time after a refusal, to find the one that is at fault."""
        return 1 if self._one_by_one else most

    def judge(self, outcome: SendOutcome, now: float) -> Step:
        """Take an attempt's outcome and say what became of the line.

        Args:
            outcome: what the receiver answered.
            now: in seconds, of any clock that doesn't jump.
        """
        match outcome:
            case Delivered(count):
                self._one_by_one = max(0, self._one_by_one - count)
                self._recovered()
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
                self._recovered()
                return QueueDeadLettered(reason, attempts)

    def begin_anew(self) -> None:
        """Forget what failed: the far end is another one now."""
        self._recovered()

    def _recovered(self) -> None:
        # A refusal is an answer: the far end is there.
        self.failures = 0
        self.failing_since = None
        self._not_before = 0.0
