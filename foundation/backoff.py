"""Exponential back-off between attempts. Pure: the random number is an argument."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Parameters of the back-off, in seconds. Jitter keeps a fleet from reconnecting all at once."""

    first: float = 1.0
    factor: float = 2.0
    most: float = 60.0
    jitter: float = 0.5
    """The random share of a wait, 0 to 1."""
    max_requested: float = 900.0
    """Limit of a wait that the server requests: a wrong Retry-After must not silence a sink for a day."""

    def seconds(self, failures: int, requested: float | None, draw: float) -> float:
        """Return the wait after consecutive failures, at least 1, in seconds. draw: a random number from 0 to 1.

        The result is never shorter than the wait that the server requested, if it did; jitter is added.
        """
        # The exponent is bounded because a float overflows after a thousand failures.
        wait = min(self.most, self.first * self.factor ** min(failures - 1, 32))
        if requested is not None:
            return min(requested, self.max_requested) + self.first * self.jitter * draw
        return wait * (1 - self.jitter) + wait * self.jitter * draw
