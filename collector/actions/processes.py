"""Kills a process with its descendants, or a session: each process is checked while nothing else can take its id.

A pidfd refers to one process for as long as it is open. What is known about the process is read after it was opened,
and counts if the process still lives then. All are stopped before the first one is killed, so that none forks faster
than it is killed.
"""

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Self

from collector.actions.effect import ActionRefused, Effect, TargetGone, UndoFacts
from collector.host import boot_to_epoch
from collector.processes.container_names import Naming
from collector.processes.process import TICK
from collector.procfs.parse import Stat, parse_cgroup, parse_stat
from collector.procfs.reading import read_file, read_up_to
from foundation.text import count_of
from schemas.action import ActionIntent, why_protected

MAX_PROCESSES = 16_384
"""Processes that one action kills."""
START_SLACK = 20_000_000
"""How far a start time may differ, ns, apart from the ticks of /proc: the collector follows the wall clock in steps of
10 ms."""
_MAX_ANCESTORS = 64
_QUIET_ROUNDS = 3
_MAX_OFFSETS = 16
_STOP_SECONDS = 0.25
"""How long a round waits for processes to stop; those that the kernel can't stop are killed as they are."""
_GATHER_SECONDS = 5.0
_EXIT_SECONDS = 1.0
_NAP_SECONDS = 0.0005
_MAX_STAT = 4096
_SHORT_ID = 12
_DELETED = " (deleted)"
_STOPPED = frozenset("Tt")


class BootOffsets:
    """How far the wall clock was ahead of the boot clock, each time that it was set.

    The start time of a process in an event counts from the clock as it was when the process was first seen.
    """

    def __init__(self) -> None:
        self._offsets: list[int] = []
        self.observe()

    def observe(self) -> None:
        """Remember the present offset, if it is a new one."""
        offset = boot_to_epoch()
        if all(abs(offset - each) > START_SLACK // 2 for each in self._offsets):
            self._offsets = [*self._offsets[-_MAX_OFFSETS + 1 :], offset]

    def is_start(self, ticks: int, start_time: int) -> bool:
        """Return whether a process of /proc is the one that started at a time, ns since the epoch."""
        return any(
            -START_SLACK <= start_time - (ticks * TICK + offset) <= TICK + START_SLACK for offset in self._offsets
        )


class ProcessHandle:
    """A process that can be signaled, whatever becomes of its id."""

    def __init__(self, pid: int, pidfd: int, folder: int) -> None:
        self.pid = pid
        self._pidfd, self._folder = pidfd, folder

    @classmethod
    def open(cls, pid: int) -> Self:
        """Open a process. Raises TargetGone, or OSError."""
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            raise TargetGone(f"process {pid} has ended") from None
        try:
            folder = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            os.close(pidfd)
            raise TargetGone(f"process {pid} has ended") from None
        return cls(pid, pidfd, folder)

    def close(self) -> None:
        """Close its descriptors."""
        self.forget_facts()
        os.close(self._pidfd)

    def forget_facts(self) -> None:
        """Close the descriptor through which facts are read."""
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def stat(self) -> Stat:
        """Read its state, which belongs to the process of the pidfd. Raises TargetGone."""
        stat = parse_stat(self._read("stat") or b"")
        # Until it ends its id isn't free, so the folder is that of the same process. Only the pidfd reveals its end:
        # its first thread may have ended alone.
        if stat is None or self.has_exited():
            raise TargetGone(f"process {self.pid} has ended")
        return stat

    def program(self) -> str:
        """Return the path of its program; empty if there is none."""
        with suppress(OSError):
            return os.readlink("exe", dir_fd=self._folder).removesuffix(_DELETED)
        return ""

    def cgroup(self) -> str:
        """Return the path of its cgroup, from the root."""
        return parse_cgroup(self._read("cgroup") or b"") or ""

    def has_exited(self) -> bool:
        """Return whether it has ended."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; return whether the process was still there. Raises OSError."""
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            return False
        return True

    def _read(self, name: str) -> bytes | None:
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folder)
        except OSError:
            return None
        try:
            return read_up_to(descriptor, _MAX_STAT)
        except OSError:
            return None
        finally:
            os.close(descriptor)


def _scan() -> dict[int, Stat]:
    """Read the state of all processes."""
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  a thousand paths take longer than their files
        if name.isdecimal() and (stat := parse_stat(read_file(f"/proc/{name}/stat", _MAX_STAT) or b"")) is not None:
            found[int(name)] = stat
    return found


def ancestors(pid: int) -> Iterator[int]:
    """Yield the ids of a process and of those it descends from."""
    for _ in range(_MAX_ANCESTORS):
        if pid <= 0:
            return
        yield pid
        stat = parse_stat(read_file(f"/proc/{pid}/stat", _MAX_STAT) or b"")
        if stat is None:
            return
        pid = stat.ppid


class Kill:
    """Kills processes."""

    def __init__(self, offsets: BootOffsets, naming: Naming, own: Callable[[], frozenset[int]] = frozenset) -> None:
        """Create it. own: returns the ids of further processes of Lanner, which are never killed."""
        self._offsets, self._naming, self._own = offsets, naming, own

    def do(self, intent: ActionIntent) -> Effect:
        """Kill a process with its descendants, or a session. Raises as HostAction.do."""
        leader = ProcessHandle.open(intent.pid)
        try:
            stat = self._identified(leader, intent)
        except BaseException:
            leader.close()
            raise
        family = _Family(intent, self._naming, frozenset({*ancestors(os.getpid()), *self._own()}))
        try:
            family.add(leader, stat)
            if intent.pid in family.spared:
                raise ActionRefused(family.spared[intent.pid])
            family.gather()
            if intent.pid in family.spared:
                raise ActionRefused(family.spared[intent.pid])
            return Effect(family.kill(), {})
        finally:
            family.close()

    def _identified(self, leader: ProcessHandle, intent: ActionIntent) -> Stat:
        stat = leader.stat()
        if not self._offsets.is_start(stat.start_ticks, intent.start_time):
            raise TargetGone(f"process {intent.pid} has ended; another one has its id now")
        if intent.target == "session" and stat.session != intent.pid:
            raise ActionRefused(f"process {intent.pid} leads no session")
        return stat

    def extend(self, intent: ActionIntent, facts: UndoFacts, lease: int) -> None:
        """Do nothing: it has no lease."""

    def undo(self, intent: ActionIntent, facts: UndoFacts) -> str:  # noqa: ARG002
        """Raise TargetGone: nothing undoes it."""
        raise TargetGone("a killed process can't be started again")


class _Family:
    """The processes that are to be killed: stopped first."""

    def __init__(self, intent: ActionIntent, naming: Naming, untouchable: frozenset[int]) -> None:
        self.spared: dict[int, str] = {}
        """Why processes that belong to it aren't killed."""
        self._intent, self._naming, self._untouchable = intent, naming, untouchable
        self._begun = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // TICK
        self._stopped: dict[int, ProcessHandle] = {}
        self._stopping: dict[int, ProcessHandle] = {}
        """Those that have the signal and run on until they look at it, or that the kernel can't stop now."""
        self._sessions: set[int] = set()
        self._groups: set[int] = set()

    def add(self, process: ProcessHandle, stat: Stat) -> None:
        """Stop a process, unless it must not be killed."""
        reason = self._why_spared(process, stat)
        if reason:
            self.spared[process.pid] = reason
            process.close()
        elif process.send(signal.SIGSTOP):
            self._stopping[process.pid] = process
            self._sessions.add(stat.session)
            self._groups.add(stat.group)
        else:
            process.close()

    def gather(self) -> None:
        """Stop all that belong to it, until there are no more, or too many."""
        deadline = time.monotonic() + _GATHER_SECONDS
        quiet = 0
        while quiet < _QUIET_ROUNDS and time.monotonic() < deadline:
            self._wait()
            is_certain = not self._stopping
            everything = _scan()
            found = [pid for pid in self._belonging(everything) if self._open(pid, everything[pid])]
            if not found and is_certain:
                return
            # What the kernel can't stop now must not last longer than a few looks.
            quiet = 0 if found else quiet + 1

    def kill(self) -> str:
        """Kill all; return what was done, for people."""
        members = [*self._stopped.values(), *self._stopping.values()]
        killed = [each for each in members if each.send(signal.SIGKILL)]
        deadline = time.monotonic() + _EXIT_SECONDS
        left = killed
        while (left := [each for each in left if not each.has_exited()]) and time.monotonic() < deadline:
            time.sleep(_NAP_SECONDS)
        text = f"killed {count_of(len(killed), 'process', 'processes')}"
        if left:
            text += f", of which {len(left)} could not end yet"
        if self.spared:
            text += f"; spared {len(self.spared)}: {next(iter(self.spared.values()))}"
        self._stopped, self._stopping = {}, {}
        for each in members:
            each.close()
        return text

    def close(self) -> None:
        """Continue those that were stopped, and not killed."""
        for each in (*self._stopped.values(), *self._stopping.values()):
            with suppress(OSError):
                each.send(signal.SIGCONT)
            each.close()

    def _open(self, pid: int, seen: Stat) -> bool:
        """Stop a process that was seen; return whether it was there, and it was not known to be spared."""
        if len(self._stopped) + len(self._stopping) >= MAX_PROCESSES:
            return False
        try:
            process = ProcessHandle.open(pid)
        except TargetGone:
            return False
        try:
            stat = process.stat()
        except TargetGone:
            process.close()
            return False
        if (stat.start_ticks, stat.session) != (seen.start_ticks, seen.session):
            process.close()
            return False
        self.add(process, stat)
        return True

    def _wait(self) -> None:
        """Wait until those that have the signal are stopped, and look again at what they are now."""
        deadline = time.monotonic() + _STOP_SECONDS
        while True:
            for pid, process in list(self._stopping.items()):
                try:
                    stat = process.stat()
                except TargetGone:
                    self._stopped[pid] = self._stopping.pop(pid)
                    continue
                if stat.state not in _STOPPED:
                    continue
                del self._stopping[pid]
                # It may have executed another program until it stopped.
                reason = self._why_spared(process, stat)
                if reason:
                    self.spared[pid] = reason
                    process.send(signal.SIGCONT)
                    process.close()
                else:
                    process.forget_facts()
                    self._stopped[pid] = process
            if not self._stopping or time.monotonic() > deadline:
                return
            time.sleep(_NAP_SECONDS)

    def _belonging(self, everything: dict[int, Stat]) -> Iterator[int]:
        """Yield the processes that belong to it and are not known yet."""
        known = {*self._stopped, *self._stopping}
        if self._intent.target == "session":
            for pid, stat in everything.items():
                if stat.session == self._intent.pid and pid not in known and pid not in self.spared:
                    yield pid
            return
        children: dict[int, list[int]] = {}
        for pid, stat in everything.items():
            children.setdefault(stat.ppid, []).append(pid)
        waiting = list(known)
        # Its parent ended since this began, so that the first process of the host has it now.
        waiting += [pid for pid in children.get(1, ()) if pid not in known and self._is_orphan(everything[pid])]
        seen = set(waiting)
        while waiting:
            pid = waiting.pop()
            if pid in self.spared:
                continue
            if pid not in known:
                yield pid
            for child in children.get(pid, ()):
                if child not in seen:
                    seen.add(child)
                    waiting.append(child)

    def _is_orphan(self, stat: Stat) -> bool:
        return stat.start_ticks >= self._begun and (stat.session in self._sessions or stat.group in self._groups)

    def _why_spared(self, process: ProcessHandle, stat: Stat) -> str:
        """Return why a process is not killed, by what it is now; empty if there is no reason."""
        pid, intent = process.pid, self._intent
        if stat.is_kernel_thread:
            return f"process {pid} is a thread of the kernel"
        if pid in self._untouchable:
            return f"process {pid} belongs to Lanner, or Lanner descends from it"
        named = self._naming.container_of(process.cgroup())
        container = named.full_id if named is not None and named.is_certain else ""
        if intent.container_id and container and not container.startswith(intent.container_id[:_SHORT_ID]):
            return f"process {pid} is in another container, {container[:_SHORT_ID]}"
        # What isn't certainly a container's is the host's: an intent can't remove the host's protections.
        actual = replace(intent, target="process", pid=pid, container_id=container)
        return why_protected(actual, process.program())
