"""Finds the partitions that a client reads no more, although the broker has more of their messages."""

from collections.abc import Mapping

from faust.types.tuples import TP

STALLED_SECONDS = 60.0
"""A partition that is taken over, or whose broker is restarted, is read again within seconds."""


class StalledPartitions:
    """How long each partition has been at its position."""

    def __init__(self) -> None:
        self._since: dict[TP, tuple[int | None, float]] = {}

    def look(self, seen: Mapping[TP, tuple[int | None, int]], now: float) -> list[TP]:
        """Return the partitions that have been at the same position for too long and have messages after it.

        Those are returned once; their time begins again.

        Args:
            seen: by assigned partition, the client's position, None if it has none yet, and the end.
            now: a monotonic time, s.
        """
        before, self._since = self._since, {}
        stalled = []
        for partition, (position, end) in seen.items():
            if position is not None and position >= end:
                continue
            was, since = before.get(partition, (position, now))
            if was != position:
                since = now
            elif now - since >= STALLED_SECONDS:
                since = now
                stalled.append(partition)
            self._since[partition] = position, since
        return stalled
