"""Finds what lost records left wrong in the process table: processes that are gone, and facts that hold no longer.

After a loss the table is compared with /proc, slowly. What differs is only believed once all records of before the look
were read and the table still says otherwise: then the record that would have told of it is lost.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from collector.processes.parts import ProcessFacts
from collector.processes.process import TICK, TrackedProcess

READS = 8
"""Processes that are read anew in one step; each takes some 0.1 ms."""
NAMES = 1000
"""Processes that are looked for among the names in /proc in one step."""
STEP_SECONDS = 0.02
REST_SECONDS = 10.0
"""From the beginning of one sweep to that of the next, at least."""


class Files(Protocol):
    """What a sweep needs of /proc."""

    def pids(self) -> list[int]:
        """Give the pids of all processes."""

    def read(self, pid: int) -> ProcessFacts | None:
        """Read one process."""


class Table(Protocol):
    """What a sweep needs of the process table."""

    def living(self, pid: int) -> TrackedProcess | None:
        """Give the process that has this pid now."""

    def all_living(self) -> list[TrackedProcess]:
        """Give the processes that have not ended, as far as is known."""

    def end(self, entry: TrackedProcess, time: int) -> None:
        """Take note that a process has ended."""

    def renew(self, entry: TrackedProcess, facts: ProcessFacts, exec_generation: int | None = None) -> None:
        """Take facts read from /proc for those of a process."""

    def seed(self, processes: Iterable[ProcessFacts]) -> None:
        """Take in processes that are not known."""


@dataclass(frozen=True, slots=True)
class _Doubt:
    """What /proc said at a time that the table did not."""

    entry: TrackedProcess
    version: int
    facts: ProcessFacts | None
    """None: there is no such process."""
    at: int
    """Boot clock, ns."""


class Sweep:
    """One comparison after another, a little at each step."""

    def __init__(self, table: Table, files: Files) -> None:
        self.ended = 0
        """Processes that were found to be gone."""
        self.renewed = 0
        """Processes whose facts were found to be others."""
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
        """Take note of how many records of processes are lost since the start."""
        self._lost = count

    def step(self, now: float, clock: int, read_until: int) -> None:
        """Compare a little more.

        Args:
            now: monotonic clock, seconds.
            clock: boot clock, ns.
            read_until: all records of before this were taken, boot clock, ns.
        """
        if now < self._next_step:
            return
        self._next_step = now + STEP_SECONDS
        while self._doubts and self._doubts[0].at <= read_until:
            self._settle(self._doubts.popleft())
        if not (self._left or self._to_read or self._doubts):
            if self._lost == self._swept_lost or now < self._next_sweep:
                return
            self._next_sweep = now + REST_SECONDS
            self._swept_lost = self._lost
            # In this order: whoever is in the table by now was in /proc before, unless it has ended.
            self._left = deque(self._table.all_living())
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
        # A record has told of it, or of something newer.
        if not self._is_there(entry) or entry.version != doubt.version:
            return
        if facts is None or facts.start_ticks != entry.start_time // TICK:
            self._table.end(entry, doubt.at)
            self.ended += 1
            if facts is not None:
                self._table.seed([facts])
            return
        if _is_same_program(entry, facts):
            # The kernel side told more of it than /proc does.
            self._table.renew(entry, replace(facts, program=entry.program), entry.exec_generation)
        else:
            self._table.renew(entry, facts)
        self.renewed += 1

    def _is_there(self, entry: TrackedProcess) -> bool:
        return self._table.living(entry.pid) is entry


def _is_as(entry: TrackedProcess, facts: ProcessFacts) -> bool:
    """Return whether a process is what the table holds, as far as it matters and /proc tells."""
    if facts.start_ticks != entry.start_time // TICK:
        return False
    place = facts.place
    told = (facts.credentials.uid, place.sid, place.pgid, place.cwd, place.loginuid)
    held = (entry.credentials.uid, entry.place.sid, entry.place.pgid, entry.place.cwd, entry.place.loginuid)
    return told == held and _is_same_program(entry, facts)


def _is_same_program(entry: TrackedProcess, facts: ProcessFacts) -> bool:
    found, held = facts.program, entry.program
    # A name is changed without an exec; of a program that can't be read nothing is known.
    return found.exe_ino is None or found.args is None or (found.exe_ino, found.args) == (held.exe_ino, held.args)
