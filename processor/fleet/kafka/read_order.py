"""Takes the messages of one partition in order, without a gap.

Faust can skip messages: where a rebalance overlaps with a fetch, it drops what it fetched or takes it for read, reads
on behind it, and commits beyond it. So the order is checked where messages are processed.
"""

from enum import Enum

_SEEK_SECONDS = 10.0
"""Time after which a seek that had no effect is repeated."""


class Admission(Enum):
    """The decision about a message."""

    TAKE = "take"
    SKIP = "skip"
    """It was taken before, or is delivered again after the ones that are missing."""
    SEEK = "seek"
    """Messages before it are missing: read again from `next`, and skip this one."""


class ReadOrder:
    """The messages of one partition since it was assigned."""

    def __init__(self, first: int, now: float) -> None:
        """Start. first: the offset from which the group reads; now: a monotonic time, s."""
        self.first = first
        """The offset from which the group reads."""
        self.next = first
        """The offset of the message to be taken next."""
        self._last = -1
        self._checked_at = now
        self._sought_at: float | None = None
        self._restart = -1
        """Where reading started after the last seek, if that was behind `next`."""

    def check(self, offset: int, end: int | None, now: float) -> Admission:
        """Return what to do with the next message that was delivered.

        Args:
            offset: of the message.
            end: the end of the partition, as far as is known.
            now: a monotonic time, s.
        """
        self._checked_at = now
        if offset < self.next:
            # The end is before it only if the topic was deleted and created again.
            if end is not None and end < self.next:
                return self._take(offset)
            self._last = offset
            return Admission.SKIP
        is_restarted = self._sought_at is not None and offset <= self._last
        # The broker no longer has what is missing if reading starts at the same message twice.
        if offset == self.next or (is_restarted and offset == self._restart):
            return self._take(offset)
        self._last = offset
        if is_restarted:
            self._restart = offset
        elif self._sought_at is not None and now - self._sought_at < _SEEK_SECONDS:
            return Admission.SKIP
        self._sought_at = now
        return Admission.SEEK

    def is_overdue(self, end: int, now: float) -> bool:
        """Return whether to read again from `next` because the last messages of the partition are missing.

        No later one shows that they were skipped. Where they only wait to be processed, reading them again is harmless.

        Args:
            end: the end of the partition.
            now: a monotonic time, s.
        """
        if self.next >= end:
            self._checked_at = now
        if now - self._checked_at < _SEEK_SECONDS:
            return False
        self._checked_at = self._sought_at = now
        self._last = end
        return True

    def _take(self, offset: int) -> Admission:
        self.next = offset + 1
        self._sought_at, self._restart = None, -1
        return Admission.TAKE
