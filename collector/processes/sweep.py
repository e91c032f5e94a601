"""Repairs the process table after record losses: finds processes that have ended and facts that are out of date.

After a loss the table is slowly compared with /proc. A difference counts only if the table still differs once all
records from before the comparison have been read: then the record of that change was lost.
"""

from collections import deque
from dataclasses import dataclass, replace

from collector.processes.files import ProcessFiles
from collector.processes.parts import ProcessFacts
from collector.processes.process import TICK, TrackedProcess
from collector.processes.table import ProcessTable

READS = 8
"""Processes read again per step; each takes about 0.1 ms."""
NAMES = 1000
"""Processes looked up among the names in /proc per step."""
STEP_SECONDS = 0.02
REST_SECONDS = 10.0
"""Minimum time from the start of one sweep to the start of the next."""


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A difference between /proc and the table."""

    entry: TrackedProcess
    version: int
    facts: ProcessFacts | None
    """None: there is no such process."""
    at: int
    """Boot clock, ns."""


class Sweep:
    """Compares the table with /proc, a little at each step."""

    def __init__(self, table: ProcessTable, files: ProcessFiles) -> None:
        self.ended = 0
        """Processes found to have ended."""
        self.renewed = 0
        """Processes found to have other facts."""
        self._table = table
        self._files = files
        self._lost = 0
        self._swept_lost = 0
        self._left: deque[TrackedProcess] = deque()
        self._names: set[int] = set()
        self._named_at = 0
        self._to_read: deque[TrackedProcess] = deque()
        self._doubts: deque[_Doubt] = deque()
        self._next_step = 0.0
        self._next_sweep = 0.0

    def lost(self, count: int) -> None:
        """Set the total number of process records lost since the start."""
        self._lost = count

    @property
    def is_sweeping(self) -> bool:
        """True if a sweep has begun and not ended."""
        return bool(self._left or self._to_read or self._doubts)

    def step(self, now: float, clock: int, read_until: int) -> None:
        """Compare a little more.

        Args:
            now: monotonic clock, seconds.
            clock: boot clock, ns.
            read_until: boot-clock time up to which all records have been processed, ns.
        """
        if now < self._next_step:
            return
        self._next_step = now + STEP_SECONDS
        while self._doubts and self._doubts[0].at <= read_until:
            self._settle(self._doubts.popleft())
        if not self.is_sweeping:
            if self._lost == self._swept_lost or now < self._next_sweep:
                return
            self._next_sweep = now + REST_SECONDS
            self._swept_lost = self._lost
            # In this order: every process in the table was in /proc before, unless it has ended.
            self._left = deque(self._table.living.values())
            self._named_at = clock
            self._names = set(self._files.pids())
        for _ in range(min(NAMES, len(self._left))):
            entry = self._left.popleft()
            if entry.pid in self._names:
                self._to_read.append(entry)
            elif self._is_there(entry):
                self._doubts.append(_Doubt(entry, entry.version, None, self._named_at))
        for _ in range(0 if self._left else min(READS, len(self._to_read))):
            self._look(self._to_read.popleft(), clock)

    def _look(self, entry: TrackedProcess, clock: int) -> None:
        if not self._is_there(entry):
            return
        version = entry.version
        facts = self._files.read(entry.pid)
        if facts is None or not _is_as(entry, facts):
            self._doubts.append(_Doubt(entry, version, facts, clock))

    def _settle(self, doubt: _Doubt) -> None:
        entry, facts = doubt.entry, doubt.facts
        # A record has reported it, or something newer.
        if not self._is_there(entry) or entry.version != doubt.version:
            return
        if facts is None or facts.start_ticks != entry.start_time // TICK:
            self._table.end(entry, doubt.at)
            self.ended += 1
            if facts is not None:
                self._table.seed([facts])
            return
        if _is_same_program(entry, facts):
            # The kernel side reported more of it than /proc does.
            self._table.renew(entry, replace(facts, program=entry.program), entry.exec_generation)
        else:
            self._table.renew(entry, facts)
        self.renewed += 1

    def _is_there(self, entry: TrackedProcess) -> bool:
        return self._table.living.get(entry.pid) is entry


def _is_as(entry: TrackedProcess, facts: ProcessFacts) -> bool:
    """Return whether a process is as the table has it, in the facts that matter and that /proc shows."""
    if facts.start_ticks != entry.start_time // TICK:
        return False
    context = facts.context
    read = (facts.credentials.uid, context.sid, context.pgid, context.cwd, context.loginuid)
    held = (entry.credentials.uid, entry.context.sid, entry.context.pgid, entry.context.cwd, entry.context.loginuid)
    return read == held and _is_same_program(entry, facts)


def _is_same_program(entry: TrackedProcess, facts: ProcessFacts) -> bool:
    found, held = facts.program, entry.program
    # A name can change without an exec; nothing is known of a program that can't be read.
    return found.exe_ino is None or found.args is None or (found.exe_ino, found.args) == (held.exe_ino, held.args)
