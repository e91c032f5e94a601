"""The threads of the captured host, each with the facts of a process as the collector keeps them.

Falco's library keeps facts by thread, and shows an event with those of the thread that made it; descriptors and the
working directory belong to the main thread. Source: libsinsp threadinfo.cpp and thread_manager.cpp.
"""

import heapq
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

from collector.processes.parts import Credentials, ExecutedProgram, ProcessContext
from collector.processes.process import TrackedProcess
from collector.processes.relatives import ancestors
from collector.records.exec_strings import code_path
from lanner.captures.format.lists import ListedThread
from lanner.captures.state.accounts import UNKNOWN_NAME, cgroups_of
from lanner.captures.state.descriptors import IPV4, MAX_DESCRIPTORS, SERVERS, OpenDescriptor
from lanner.captures.state.limits import StateLimits

MAX_THREADS = 131_072
_STEPS_OF_ADOPTION = 16
_MAX_REAPER = 256
"""Ancestors among which an orphan's reaper is looked for."""
_MAX_LEADER = 16
"""Ancestors among which the eldest of a session or group without a leader is looked for."""
_OUTDATED = 64
"""Ended threads in a heap, in addition to as many as there are others, before it is built again."""
_MAX_CYCLE = 64
"""The length of cycles in lying lists up to which they are found; all walks are bounded."""
_NO_ID = 0xFFFFFFFF
UNKNOWN_PROGRAM = ExecutedProgram(is_upper_layer=False, is_lower_layer=False, is_from_memfd=False, is_writable=False)
"""The program of a process that the capture doesn't describe: Falco takes none of these for true."""
DELETED = " (deleted)"
"""Ends the path of a program whose file is gone."""


class CapturedThread:
    """One thread."""

    __slots__ = ("clone_time", "descriptors", "entry", "is_dead", "is_inverted", "main_tid", "ptid", "tid", "vtid")

    def __init__(self, tid: int, ptid: int, entry: TrackedProcess, *, vtid: int = -1) -> None:
        self.tid = tid
        self.ptid = ptid
        self.entry = entry
        self.vtid = tid if vtid < 0 else vtid
        self.main_tid = entry.pid
        self.descriptors: dict[int, OpenDescriptor] = {}
        self.clone_time = 0
        self.is_inverted = False
        """True if the child's own event, and not the parent's, has created it."""
        self.is_dead = False

    @property
    def is_in_namespace(self) -> bool:
        """True if it is in a pid namespace of its own."""
        return self.tid != self.vtid and self.vtid >= 0

    @property
    def is_main(self) -> bool:
        """True if it is its process's main thread."""
        return self.tid == self.main_tid


class ThreadTable:
    """All threads."""

    def __init__(self) -> None:
        self.boot_time = 0
        self.changes = 0
        """Increases when a process that others may refer to changes."""
        self.dropped = 0
        """Threads beyond MAX_THREADS, which are not followed."""
        self._threads: dict[int, CapturedThread] = {}
        self.find: Callable[[int], CapturedThread | None] = self._threads.get
        """Returns the thread with an id."""
        self.limits = StateLimits(lambda: ((each.entry, each.descriptors) for each in self._threads.values()))
        self._no_leader = TrackedProcess(-1, 0, 0, Credentials(_NO_ID), program=ExecutedProgram("", "", ""))
        self._groups: dict[int, set[int]] = {}
        self._eldest: dict[int, list[int]] = {}
        """The threads of groups, as heaps: of those of which it was asked, with some that have ended."""
        self._unlinked: set[int] = set()
        """Listed threads whose parent was listed after them."""
        self._children: dict[int, set[int]] = {}
        self._reapers: set[int] = set()

    def __len__(self) -> int:
        return len(self._threads)

    def main(self, thread: CapturedThread) -> CapturedThread:
        """Return the main thread of a thread's process, or the thread itself if that is unknown."""
        return self._threads.get(thread.main_tid, thread)

    def list_thread(self, given: ListedThread) -> None:
        """Add a thread of the list at the beginning of a capture."""
        name_of_cgroup, text = cgroups_of(given.cgroups)
        exepath = given.exepath.removesuffix(DELETED)
        parent = self._threads.get(given.ptid)
        entry = TrackedProcess(
            given.pid,
            0,
            0,
            Credentials(given.uid, given.gid, given.cap_effective, given.cap_permitted, given.cap_inheritable),
            program=ExecutedProgram(
                name=given.comm,
                exe=given.exe,
                exepath=exepath,
                codepath=code_path_of(exepath, given.env, given.uid, given.cwd),
                args=given.args,
                env=given.env,
                exe_ino=given.exe_ino or None,
                exe_ctime=given.exe_ctime or None,
                exe_mtime=given.exe_mtime or None,
                is_upper_layer=bool(given.upper_layer),
                is_lower_layer=bool(given.lower_layer),
                is_from_memfd=bool(given.from_memfd),
                is_writable=bool(given.exe_writable),
            ),
            context=ProcessContext(
                ppid=None if parent is None else self.main(parent).entry.pid,
                vpid=given.vpid if given.vpid >= 0 else given.pid,
                pgid=given.pgid,
                vpgid=given.vpgid,
                sid=given.sid,
                tty=given.tty,
                loginuid=signed_id(given.loginuid),
                pid_namespace_init_start=given.pidns_start or None,
                cwd=given.cwd,
                cgroup=text,
            ),
            exec_generation=0,
            container=name_of_cgroup,
        )
        entry.exec_time = None
        self.limits.spend(given.comm, given.exe, given.exepath, given.args, given.env, given.cwd, text)
        self.limits.earn(1)
        self.add(CapturedThread(given.tid, given.ptid, entry, vtid=given.vtid))
        children = self._children.get(given.tid, ())
        if self.limits.afford(len(children)):
            self._unlinked.update(tid for tid in children if self._threads[tid].entry.parent is None)

    def add_unknown(self, tid: int) -> CapturedThread:
        """Add a thread that the capture does not describe before its first event."""
        entry = TrackedProcess(
            -1,
            0,
            0,
            Credentials(_NO_ID, _NO_ID, 0, 0, 0),
            program=replace(UNKNOWN_PROGRAM, name=UNKNOWN_NAME, exe=UNKNOWN_NAME, exepath="", args=(), env=()),
            context=ProcessContext(sid=-1, vpgid=-1, pgid=-1, tty=0, loginuid=-1, cwd="./"),
            exec_generation=0,
            is_stale=True,
        )
        entry.exec_time = None
        thread = CapturedThread(tid, -1, entry)
        self.add(thread)
        return thread

    def identify(self, thread: CapturedThread, pid: int, ptid: int, *, vtid: int, vpid: int) -> None:
        """Set the process and the parent of a thread that was unknown."""
        self.remove(thread.tid)
        thread.main_tid = thread.entry.pid = pid
        thread.entry.is_stale = False
        thread.entry.context = replace(thread.entry.context, vpid=vpid, cwd="")
        thread.ptid, thread.vtid = ptid, vtid
        self.add(thread)

    def set_roles(self) -> None:
        """Set the roles of the listed connections: those from a port that some process listens on are its clients'."""
        tables = [thread.descriptors for thread in self._threads.values()]
        listening = {
            each.target[1] for table in tables for each in table.values() if each.type in SERVERS and each.target
        }
        for table in tables:
            for each in table.values():
                if each.type == IPV4:
                    each.is_server = each.source is not None and each.source[1] in listening
                    if each.is_server:
                        each.source, each.target = each.target, each.source
                        each.name_connection()

    def link_all(self) -> None:
        """Set the parents of the listed threads, which come in no order."""
        for tid in self._unlinked:
            thread = self._threads.get(tid)
            if thread is not None and thread.entry.parent is None:
                self._link(thread)
        self._unlinked.clear()

    def add(self, thread: CapturedThread) -> bool:
        """Add a thread in place of the one with its id; return False if there are too many."""
        self.remove(thread.tid)
        if len(self._threads) >= MAX_THREADS:
            self.dropped += 1
            return False
        self._threads[thread.tid] = thread
        self._groups.setdefault(thread.main_tid, set()).add(thread.tid)
        heap = self._eldest.get(thread.main_tid)
        if heap is not None:
            heapq.heappush(heap, thread.tid)
            if len(heap) > 2 * len(self._groups[thread.main_tid]) + _OUTDATED:
                del self._eldest[thread.main_tid]
        self._children.setdefault(thread.ptid, set()).add(thread.tid)
        self._link(thread)
        return True

    def _link(self, thread: CapturedThread) -> None:
        parent = self._threads.get(thread.ptid)
        if parent is None or parent.entry.is_stale or parent.entry.pid == thread.entry.pid:
            self._set_parent_id(thread.entry, None)
            return
        above, entry = self.main(parent).entry, thread.entry
        # A damaged list may claim that processes descend from each other. One without children is nobody's ancestor.
        nearest = islice(ancestors(above), _MAX_CYCLE if entry.is_pointed_at else 0)
        if above is entry or any(each is entry for each in nearest):
            return
        entry.set_parent(above)
        self._set_parent_id(entry, above.pid)

    @staticmethod
    def _set_parent_id(entry: TrackedProcess, pid: int | None) -> None:
        if entry.context.ppid != pid:
            entry.context = replace(entry.context, ppid=pid)

    def adopt(self, thread: CapturedThread, ptid: int) -> None:
        """Replace the parent of a thread."""
        _leave(self._children, thread.ptid, thread.tid)
        thread.ptid = ptid
        self._children.setdefault(ptid, set()).add(thread.tid)
        thread.entry.parent = None
        self._link(thread)
        self.changed(thread.entry)

    def remove(self, tid: int) -> None:
        """Forget a thread."""
        thread = self._threads.pop(tid, None)
        if thread is None:
            return
        _leave(self._children, thread.ptid, tid)
        _leave(self._groups, thread.main_tid, tid)
        if thread.main_tid not in self._groups:
            self._reapers.discard(thread.main_tid)
            self._eldest.pop(thread.main_tid, None)
        if thread.entry.is_pointed_at:
            self.changes += 1
            self.limits.end_ancestor()

    def remove_group(self, main: CapturedThread, survivor: int) -> None:
        """Forget the other threads of a process, which an exec ends."""
        for tid in [tid for tid in self._groups.get(main.main_tid, ()) if tid not in {main.tid, survivor}]:
            self.remove(tid)

    def end(self, thread: CapturedThread, reaper: int) -> None:
        """Take over the end of a thread, and give its children to their reaper."""
        thread.is_dead = True
        children = self._children.get(thread.tid, ())
        if children and self.limits.afford(_STEPS_OF_ADOPTION * len(children)):
            known = self._threads.get(reaper)
            is_known = known is not None and not known.entry.is_stale
            eldest = None if is_known else self._eldest_alive(thread.main_tid)
            new = reaper if is_known else self._reaper_above(thread) if eldest is None else eldest
            if new in self._threads and self._threads[new].main_tid != thread.main_tid:
                self._reapers.add(self._threads[new].main_tid)
            for child in [self._threads[tid] for tid in children]:
                self.adopt(child, new)
        main = self._threads.get(thread.main_tid)
        if not thread.is_main:
            self.remove(thread.tid)
        # Only the main thread of a process outlasts its end.
        members = self._groups.get(thread.main_tid, ())
        if main is not None and main.is_dead and all(self._threads[tid].is_dead for tid in members):
            self.remove(main.tid)

    def set_reaper(self, thread: CapturedThread, *, is_reaper: bool) -> None:
        """Take over whether a process adopts the orphans among its descendants."""
        (self._reapers.add if is_reaper else self._reapers.discard)(thread.main_tid)

    def _reaper_above(self, thread: CapturedThread) -> int:
        """Return the thread of the nearest process that adopts orphans; 0 if there is none in the same namespace."""
        each = self._threads.get(thread.ptid)
        for _ in range(_MAX_REAPER):
            if each is None or each is thread or each.is_in_namespace is not thread.is_in_namespace:
                return 0
            if 1 in {each.entry.pid, each.entry.context.vpid} or each.main_tid in self._reapers:
                main = self._threads.get(each.main_tid)
                alive = each.main_tid if main is not None and not main.is_dead else self._eldest_alive(each.main_tid)
                if alive is not None:
                    return alive
            each = self._threads.get(each.ptid)
        return 0

    def _eldest_alive(self, main_tid: int) -> int | None:
        """Return the thread of a process with the lowest id, of those that have not ended."""
        members = self._groups.get(main_tid, ())
        heap = self._eldest.get(main_tid)
        if heap is None:
            heap = self._eldest[main_tid] = sorted(members)
        while heap and (heap[0] not in members or self._threads[heap[0]].is_dead):
            heapq.heappop(heap)
        return heap[0] if heap else None

    def changed(self, entry: TrackedProcess) -> None:
        """Count a change of a process."""
        entry.changed()
        self.changes += entry.is_pointed_at

    def update(self, entry: TrackedProcess, **context: Any) -> None:
        """Replace parts of a process's surroundings."""
        entry.context = replace(entry.context, **context)
        self.limits.spend(context.get("cwd"))
        self.changed(entry)

    def add_descriptor(self, thread: CapturedThread, number: int, descriptor: OpenDescriptor) -> OpenDescriptor:
        """Add a descriptor to a thread's process and return it."""
        table = self.main(thread).descriptors
        if number in table or (len(table) < MAX_DESCRIPTORS and self.limits.may_open()):
            self.limits.spend(descriptor.name, descriptor.raw_name)
            table[number] = descriptor
        return descriptor

    def inherited(self, thread: CapturedThread) -> dict[int, OpenDescriptor]:
        """Return copies of a process's descriptors for a child; none if there are too many."""
        table = self.main(thread).descriptors
        if not (self.limits.afford(len(table)) and self.limits.may_open(len(table))):
            return {}
        return {number: each.copied(each.flags) for number, each in table.items()}

    def close(self, thread: CapturedThread, is_closed: Callable[[int, OpenDescriptor], bool]) -> None:
        """Close some descriptors of a process; all of them, if it has too many for this to happen that often."""
        main = self.main(thread)
        if self.limits.afford(len(main.descriptors)):
            main.descriptors = {each: found for each, found in main.descriptors.items() if not is_closed(each, found)}
        else:
            self.limits.refused += len(main.descriptors)
            main.descriptors = {}

    def descriptor(self, thread: CapturedThread, number: int) -> OpenDescriptor | None:
        """Return an open descriptor."""
        return self.main(thread).descriptors.get(number)

    def session_leader(self, entry: TrackedProcess) -> TrackedProcess | None:
        """Return the leader of a process's session."""
        # Within a pid namespace the id is the namespace's own.
        return self._leader(entry, "sid", is_host_id=entry.context.vpid in {None, entry.pid})

    def group_leader(self, entry: TrackedProcess) -> TrackedProcess | None:
        """Return the leader of a process's group."""
        if entry.context.pgid in {None, -1}:
            # Old captures have the group's id within its namespace only.
            return self._leader(entry, "vpgid", is_host_id=entry.context.vpid in {None, entry.pid})
        return self._leader(entry, "pgid", is_host_id=True)

    def _leader(self, entry: TrackedProcess, part: str, *, is_host_id: bool) -> TrackedProcess | None:
        number: int | None = getattr(entry.context, part)
        if number is None:
            return None
        leader = self._threads.get(number) if is_host_id else None
        if leader is not None:
            return leader.entry
        eldest = self._no_leader
        for ancestor in islice(ancestors(entry), _MAX_LEADER):
            if number < 0 or getattr(ancestor.context, part) != number:
                break
            eldest = ancestor
        return eldest

    def first_in_container(self, entry: TrackedProcess) -> None:
        """Return None: a capture has no files of containers to look into."""
        del entry


def _leave(index: dict[int, set[int]], key: int, tid: int) -> None:
    """Remove a thread from a set, which may be the last one there."""
    members = index.get(key)
    if members is not None:
        members.discard(tid)
        if not members:
            del index[key]


def signed_id(number: int) -> int:
    """Return a user's or group's id with -1 for none."""
    return -1 if number == _NO_ID else number


def code_path_of(exepath: str | None, env: tuple[str, ...] | None, uid: int, cwd: str | None) -> str | None:
    """Return the path of the program that a thread runs; captures don't distinguish scripts. env: None if unknown."""
    entries = None if env is None else tuple(each.encode("utf-8", "surrogateescape") for each in env)
    return code_path(exepath or "", None, entries, cwd=None if uid else cwd)
