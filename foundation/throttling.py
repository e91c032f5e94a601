"""Limits of how often something is done: exponential back-off between attempts, and token buckets. Pure."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from foundation.caches import BoundedMap

K = TypeVar("K", bound=Hashable)


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


class RateLimit(Generic[K]):
    """One bucket per key; the keys that were not seen for the longest time are forgotten."""

    def __init__(self, per_second: float, at_once: float, *, max_keys: int = 10_000) -> None:
        """Create a limit. at_once: tokens that a bucket contains at most. max_keys: how many buckets are stored."""
        self._per_second = per_second
        self._at_once = float(at_once)
        self._buckets: BoundedMap[K, tuple[float, float]] = BoundedMap(max_keys)

    def left(self, key: K, now: float) -> float:
        """Return the number of tokens in a bucket. now: seconds of any clock, the same for all calls."""
        left, since = self._buckets.get(key) or (self._at_once, now)
        return min(left + max(0.0, now - since) * self._per_second, self._at_once)

    def take(self, key: K, now: float) -> bool:
        """Take one token; return whether there was one."""
        left = self.left(key, now)
        is_admitted = left >= 1
        self._buckets.put(key, (left - 1 if is_admitted else left, now))
        return is_admitted
