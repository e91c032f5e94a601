"""A limit on requests by client: so many a second, and so many at once."""

from schemas.caching.bounded import BoundedMap

_MAX_CLIENTS = 10_000


class RateLimit:
    """AccessToken buckets, one per client; the clients that were not seen for the longest time are forgotten."""

    def __init__(self, per_second: float, at_once: int) -> None:
        """Create a limit.

        Args:
            per_second: tokens that each bucket gets.
            at_once: tokens that a bucket holds at most.
        """
        self._per_second = per_second
        self._at_once = at_once
        self._buckets: BoundedMap[str, tuple[float, float]] = BoundedMap(_MAX_CLIENTS)

    def take(self, client: str, now: float) -> bool:
        """Take one of a client's tokens; return whether there was one.

        Args:
            client: its address.
            now: monotonic seconds.
        """
        left, since = self._buckets.get(client) or (float(self._at_once), now)
        left = min(left + (now - since) * self._per_second, float(self._at_once))
        self._buckets.put(client, (left - 1 if left >= 1 else left, now))
        return left >= 1
