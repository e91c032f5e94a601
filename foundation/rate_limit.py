"""Token buckets: so many a second for each key, and so many at once."""

from collections.abc import Hashable
from typing import Generic, TypeVar

from foundation.caches import BoundedMap

K = TypeVar("K", bound=Hashable)


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
