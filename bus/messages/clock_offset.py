"""How far a host's clock is from the broker's: worked out by the collector, judged by whoever reads its batches.

Pure. What is added to a batch's times depends on that one message alone, so that every reader, live or later, makes
the same times of it, and so the same alert ids.
"""

from collections.abc import Iterable

from bus.messages.headers import CLOCK, SENT

TOLERATED = 5_000_000_000
"""ns; clocks this near each other are left alone."""
_MAX_ROUND_TRIP = 1_000_000_000
_LONGEST = 20
_CLOCK_MEMORY_SECONDS = 300.0
_FARTHEST = 100 * 365 * 86_400 * 1_000_000_000
"""ns; a clock that starts at 1970 because its battery is flat has to be within it."""


def append_time(milliseconds: int) -> int:
    """Return a message's append time in ns since the epoch: the end of the millisecond that the broker names.

    An event that happened within that millisecond is so never later than its message.
    """
    return milliseconds * 1_000_000 + 999_999


class HostClock:
    """The host's side: each delivery tells what the broker's clock said meanwhile."""

    def __init__(self) -> None:
        self.offset: int | None = None
        """ns that the broker's clock is ahead; None until a delivery told."""

    def delivered(self, sent: int, acknowledged: int, appended: int) -> None:
        """Take note of a delivery; one that took long says too little.

        Args:
            sent: host's clock, ns.
            acknowledged: host's clock, ns.
            appended: broker's clock, ns.
        """
        if 0 <= acknowledged - sent <= _MAX_ROUND_TRIP:
            self.offset = appended - (sent + acknowledged) // 2


class BrokerClock:
    """What time it is by the broker, as far as its messages tell: never later than it is there.

    A message that is read at once tells it to within a moment. No clock of this machine is asked but one that nothing
    sets.
    """

    def __init__(self) -> None:
        self._lead: float | None = None
        """ms that the broker's clock is ahead of that of this process, by the message that told most."""
        self._fresh: float | None = None
        """The same, by the newest messages alone: a broker's clock that was set back is followed."""
        self._since = 0.0

    def seen(self, appended: int, now: float) -> None:
        """Take note of a message.

        Args:
            appended: when the broker appended it, ms since the epoch.
            now: a clock that only grows, s.
        """
        lead = appended - now * 1000
        if now - self._since >= _CLOCK_MEMORY_SECONDS:
            self._lead, self._fresh, self._since = self._fresh, None, now
        self._fresh = lead if self._fresh is None else max(self._fresh, lead)
        self._lead = self._fresh if self._lead is None else max(self._lead, self._fresh)

    def now(self, now: float) -> int | None:
        """Return the time, ms since the epoch; None where no message has told it yet. now: as in seen."""
        return None if self._lead is None else int(self._lead + now * 1000)


def correction(headers: Iterable[tuple[str, object]], appended: int) -> int:
    """Give what to add to the times of a batch, ns; 0 where the host's clock is right, or nothing is known.

    Without the collector's own word, the time from sending to appending is all skew: right but for a batch that waited.

    Args:
        headers: of the message; from a host that may be taken over.
        appended: broker's clock, ns.
    """
    told = {name: value for name, value in headers if name in (CLOCK, SENT)}
    offset = _number(told.get(CLOCK))
    if offset is None:
        sent = _number(told.get(SENT))
        offset = appended - sent if sent is not None else 0
    return offset if TOLERATED < abs(offset) < _FARTHEST else 0


def _number(value: object) -> int | None:
    if not isinstance(value, bytes) or len(value) > _LONGEST:
        return None
    try:
        return int(value)
    except ValueError:
        return None
