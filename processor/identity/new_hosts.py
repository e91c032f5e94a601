"""Limits how many hosts may appear at once, so that invented hosts cannot fill the shared limit quickly.

Pure: the clock is given.
"""

BURST = 10_000
"""A whole fleet may start at once."""
PER_SECOND = 10.0


class NewHosts:
    """A bucket of permissions that fills slowly."""

    def __init__(self, burst: int = BURST, per_second: float = PER_SECOND) -> None:
        self._burst = float(burst)
        self._per_second = per_second
        self._left = self._burst
        self._at = float("-inf")

    def admit(self, now: float) -> bool:
        """Return whether one more new host is accepted. now: a monotonic clock, s."""
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
