"""Processes that have ended but can still be looked up, because events may arrive after the exit record.

Ancestors need no entry here: their living descendants refer to them.
"""

from collections import OrderedDict

from collector.processes.process import TrackedProcess

GRACE = 3_000_000_000
"""Nanoseconds of record time: records are sorted by time, and counts of repeats come within a second."""

MAX_ENTRIES = 2048
"""A storm ends thousands a second. Each takes nearly 1 KB, and memory of the peak stays with this process."""


class RecentlyExited:
    """The last processes to end, by pid and start time, bounded by count and by record time."""

    def __init__(self, grace: int = GRACE, limit: int = MAX_ENTRIES) -> None:
        self._grace = grace
        self._limit = limit
        self._entries: OrderedDict[tuple[int, int], TrackedProcess] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: TrackedProcess, time: int) -> None:
        """Add a process that ended at a time (boot clock, ns) and drop those that are too old."""
        entry.exited_at = time
        self._entries[entry.pid, entry.start_time] = entry
        while self._entries:
            oldest = next(iter(self._entries.values()))
            if len(self._entries) <= self._limit and time - (oldest.exited_at or 0) <= self._grace:
                return
            self._entries.popitem(last=False)

    def find(self, pid: int, start_time: int) -> TrackedProcess | None:
        """Look up by exact start time; a process whose exact time never became known can't be found."""
        return self._entries.get((pid, start_time))
