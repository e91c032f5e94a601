"""Processes that are gone but may still be asked for: events arrive after the exit that ended them.

Ancestors need no place here: a living descendant's entry holds them.
"""

from collections import OrderedDict

from collector.processes.process import TrackedProcess

GRACE = 10_000_000_000
"""Nanoseconds of record time; many times what a record spends in a ring."""

MAX_ENTRIES = 8192


class RecentlyExited:
    """The last processes to end, by pid and start time, bounded by count and by record time."""

    def __init__(self, grace: int = GRACE, limit: int = MAX_ENTRIES) -> None:
        self._grace = grace
        self._limit = limit
        self._entries: OrderedDict[tuple[int, int], TrackedProcess] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: TrackedProcess, time: int) -> None:
        """Keep an entry that ended at a time (boot clock, ns) and let go of what is too old."""
        entry.exited_at = time
        self._entries[entry.pid, entry.start_time] = entry
        while self._entries:
            oldest = next(iter(self._entries.values()))
            if len(self._entries) <= self._limit and time - (oldest.exited_at or 0) <= self._grace:
                return
            self._entries.popitem(last=False)

    def find(self, pid: int, start_time: int) -> TrackedProcess | None:
        """Look up by the exact start time; an entry whose exact time was never told can't be found again."""
        return self._entries.get((pid, start_time))
