"""The process table: maintained by records, verified at each event, never guessed.

Every record identifies its process by pid, start time, exec generation and user. If that differs from the table, a
record was lost and /proc is read; if /proc doesn't help, the facts are missing and counted as such.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from collector.processes.container_names import ContainerName, container_of
from collector.processes.parts import (
    Credentials,
    ExecCache,
    ProcessContext,
    ProcessFacts,
    ProcfsReader,
    context_of,
    credentials_of,
)
from collector.processes.process import TICK, TrackedProcess, from_facts, from_record
from collector.processes.relatives import (
    MAX_ENTRIES,
    Namespaces,
    RecentlyExited,
    ancestors,
    behind_helper,
    find_leader,
    freeze,
    is_adoption,
    trim,
)
from collector.records.types import Exec, Exit, Fork, Lifecycle, ProcessIdentity, State
from foundation.caches import BoundedMap


class ProcessTable:
    """All processes of the host, maintained by records.

    Args:
        reader: reads /proc when a record contradicts the table.
        boot_to_epoch: epoch nanoseconds minus boot-clock nanoseconds; set again when the wall clock is set.
        exited_limit: maximum number of ended processes that can still be found.
        container_of: returns the container that a cgroup's path belongs to.
        isolated: returns the container of a process that only its namespaces reveal, from its id and its context.
    """

    def __init__(
        self,
        reader: ProcfsReader,
        boot_to_epoch: int,
        *,
        exited_limit: int = MAX_ENTRIES,
        container_of: Callable[[str], ContainerName | None] = container_of,
        isolated: Callable[[int, ProcessContext], ContainerName | None] = lambda _pid, _context: None,
    ) -> None:
        self.boot_to_epoch = boot_to_epoch
        self.changes = 0
        """Increases when a process that others may refer to changes, which may invalidate what was derived of it.

        Most execs are of a child that nothing refers to, and leave the rows of other processes valid."""
        self.stale = 0
        """Events whose process was unknown: the loss reason process_stale."""
        self.rereads = 0
        """Reads of /proc caused by records that contradict the table."""
        self._reader = reader
        self._container_of = container_of
        self._isolated = isolated
        self.living: dict[int, TrackedProcess] = {}
        """By pid, the processes that have not ended, as far as records show."""
        self._exited = RecentlyExited(exited_limit)
        self._unknown: BoundedMap[tuple[int, int, int, int], TrackedProcess] = BoundedMap(1024)
        self._namespaces = Namespaces()
        self._programs = ExecCache()
        self._appliers: Mapping[type[Lifecycle], Callable[[Any], None]]
        self._appliers = {Fork: self._fork, Exec: self._exec, State: self._state, Exit: self._exit}

    def __len__(self) -> int:
        return len(self.living) + len(self._exited)

    def seed(self, processes: Iterable[ProcessFacts]) -> None:
        """Add the processes that existed before the first record.

        The kernel side must be attached before /proc is read, so that nothing is missed in between; what records have
        already reported takes precedence.
        """
        new = []
        for facts in sorted(processes, key=lambda each: (each.start_ticks, each.pid)):
            known = self.living.get(facts.pid)
            if known is None or known.start_time // TICK != facts.start_ticks:
                new.append(self._add(facts))
        for entry in new:
            self._settle(entry)

    def end(self, entry: TrackedProcess, time: int) -> None:
        """Record that a process has ended according to /proc. time: boot clock, ns."""
        if self.living.get(entry.pid) is entry:
            self._retire(entry.pid, time)

    def renew(self, entry: TrackedProcess, facts: ProcessFacts, exec_generation: int | None = None) -> None:
        """Replace the facts of a process by those read from /proc; by default the next record sets the generation."""
        entry.renew(facts, exec_generation)
        self._settle(entry)
        self._changed(entry)

    def resolve(self, who: ProcessIdentity) -> TrackedProcess:
        """Return the process that made a record, exactly as its identity states; is_stale if that is unknown.

        A stale entry contains only what the record itself proves (pid, user, start, container by its cgroup).
        """
        entry = self._unchanged(who)
        if entry is None:
            entry = self._reconcile(who)
            self.stale += entry.is_stale
        return entry

    def apply(self, record: Lifecycle) -> None:
        """Apply one record. Records come in the order of their times."""
        self._appliers[type(record)](record)

    def ending(self, done: Exit) -> TrackedProcess:
        """Return the process that ends, as known; at its end /proc has nothing to add."""
        entry = self.living.get(done.who.pid)
        return entry if entry is not None and entry.started_at(done.who.start_time) else self.resolve(done.who)

    def session_leader(self, entry: TrackedProcess) -> TrackedProcess | None:
        """Return the leader of a process's session, or its eldest known member; None if the session isn't known."""
        if entry.session_leader is not None:
            return entry.session_leader
        return find_leader(entry, entry.context.sid, lambda other: other.context.sid, self.living)

    def group_leader(self, entry: TrackedProcess) -> TrackedProcess | None:
        """Return the leader of a process's group, or its eldest known member; None if the group isn't known."""
        if entry.group_leader is not None:
            return entry.group_leader
        return find_leader(entry, entry.context.pgid, lambda other: other.context.pgid, self.living)

    def first_in_container(self, entry: TrackedProcess) -> TrackedProcess | None:
        """Return the living first process of the pid namespace, if it is in the same container."""
        return self._namespaces.first_in_container(entry)

    def frozen(self, entry: TrackedProcess) -> TrackedProcess:
        """Return a copy of a process, its ancestors and its leaders as they are now, for an event that has to wait.

        Copies are shared while nothing changes, so that a thousand waiting events of a process share one.
        """
        session, group, copy = self.session_leader(entry), self.group_leader(entry), freeze(entry)
        if session is not None and session is not entry and copy.session_leader is None:
            copy.session_leader = freeze(session)
        if group is not None and group is not entry and copy.group_leader is None:
            copy.group_leader = freeze(group)
        return copy

    # Records

    def _fork(self, record: Fork) -> None:
        known = self.living.get(record.pid)
        if known is not None and known.started_at(record.start_time):
            self._adopt_start(known, record.start_time)
            return
        source = self._unchanged(record.who) or self._reconcile(record.who)
        if source.is_stale:
            # Facts to inherit are missing; the child's first event reads them from /proc if possible.
            self._retire(record.pid, record.who.time)
            return
        start_epoch = record.start_time + self.boot_to_epoch
        child = source.child(record.pid, record.start_time, start_epoch, record.exec_generation, record.vpid)
        parent = self.living.get(record.real_parent_pid)
        if parent is not None and parent is not source:
            child.set_parent(parent)
        if record.real_parent_pid != child.context.ppid:
            child.context = replace(child.context, ppid=record.real_parent_pid)
        self._put(child, record.who.time)
        if (cut := trim(child)) is not None:
            self._changed(cut)

    def _exec(self, record: Exec) -> None:
        state, who = record.state, record.state.who
        entry = self._same_process(who)
        if entry is None:
            entry = from_record(who, self.boot_to_epoch)
            self._put(entry, who.time)
        elif entry.exec_generation is not None and who.exec_generation < entry.exec_generation:
            return
        entry.program, entry.credentials = self._programs.of(record)
        entry.exec_generation = who.exec_generation
        entry.exec_time = who.time + self.boot_to_epoch
        entry.forget_users()
        entry.is_stale = False
        self._take_context(entry, state)
        self._changed(entry)

    def _state(self, state: State) -> None:
        who = state.who
        entry = self._same_process(who)
        if entry is None or entry.exec_generation not in {None, who.exec_generation}:
            found = self._reconcile(who)
            entry = self._same_process(who)
            if found.is_stale or entry is None or entry.exited_at is not None:
                return
        before = (entry.context, entry.credentials, entry.parent, entry.container)
        if entry.exec_generation is None:
            entry.exec_generation = who.exec_generation
        credentials = credentials_of(state)
        if who.tid == who.pid or who.uid == entry.credentials.uid:
            entry.credentials = credentials
        elif entry.other_users.get(who.uid) != credentials:
            entry.remember_as(credentials)
        self._take_context(entry, state)
        if before != (entry.context, entry.credentials, entry.parent, entry.container):
            self._changed(entry)

    def _exit(self, record: Exit) -> None:
        entry = self.living.get(record.who.pid)
        if entry is not None and entry.started_at(record.who.start_time):
            self._adopt_start(entry, record.who.start_time)
            self._retire(entry.pid, record.who.time)

    # Contradictions between a record and the table

    def _reconcile(self, who: ProcessIdentity) -> TrackedProcess:
        entry = self._same_process(who)
        if entry is None:
            entry = self._read_new(who)
        elif entry.exec_generation is None:
            entry.exec_generation = who.exec_generation
        elif entry.exec_generation != who.exec_generation:
            entry = self._reread(entry, who)
        if entry.is_stale:
            return entry
        if entry.cgroup_id != who.cgroup_id:
            self._move(entry, who)
        if entry.credentials.uid != who.uid:
            return self._as_user(entry, who)
        return entry

    def _unchanged(self, who: ProcessIdentity) -> TrackedProcess | None:
        """Return the process that made a record if the record doesn't contradict the table."""
        entry = self.living.get(who.pid)
        if (
            entry is not None
            and entry.start_time == who.start_time
            and entry.exec_generation == who.exec_generation
            and entry.credentials.uid == who.uid
            and entry.cgroup_id == who.cgroup_id
        ):
            return entry
        return None

    def _same_process(self, who: ProcessIdentity) -> TrackedProcess | None:
        entry = self.living.get(who.pid)
        if entry is not None and entry.started_at(who.start_time):
            self._adopt_start(entry, who.start_time)
            return entry
        return self._exited.find(who.pid, who.start_time)

    def _adopt_start(self, entry: TrackedProcess, start_time: int) -> None:
        if not entry.start_is_exact and entry.adopt_start(start_time, self.boot_to_epoch):
            self._changed(entry)

    def _read_new(self, who: ProcessIdentity) -> TrackedProcess:
        newer = self.living.get(who.pid)
        if newer is not None and newer.start_time > who.start_time:
            return self._stale(who, None)
        if (facts := self._read(who)) is None:
            return self._stale(who, None)
        self._retire(who.pid, who.time)
        entry = self._add(facts)
        self._adopt_start(entry, who.start_time)
        entry.exec_generation = who.exec_generation
        self._settle(entry)
        return entry

    def _reread(self, entry: TrackedProcess, who: ProcessIdentity) -> TrackedProcess:
        # An older program can no longer be read: /proc shows the newest.
        is_older = entry.exec_generation is not None and who.exec_generation < entry.exec_generation
        facts = None if is_older or entry.exited_at is not None else self._read(who)
        if facts is None:
            return self._stale(who, entry)
        self.renew(entry, facts, who.exec_generation)
        return entry

    def _read(self, who: ProcessIdentity) -> ProcessFacts | None:
        if (who.pid, who.start_time, who.exec_generation, who.uid) in self._unknown:
            return None
        self.rereads += 1
        facts = self._reader.read(who.pid)
        return facts if facts is not None and facts.start_ticks == who.start_time // TICK else None

    def _as_user(self, entry: TrackedProcess, who: ProcessIdentity) -> TrackedProcess:
        if (view := entry.seen_as(who.uid)) is not None:
            return view
        credentials = None
        if entry.exited_at is None:
            self.rereads += 1
            credentials = self._reader.read_credentials(who.pid, who.tid)
        if credentials is None or credentials.uid != who.uid:
            # Program and user are certain; group and capabilities are not.
            self.stale += 1
            credentials = Credentials(who.uid)
        elif who.tid == who.pid:
            entry.credentials = credentials
            self._changed(entry)
            return entry
        entry.remember_as(credentials)
        return entry.seen_as(who.uid) or entry

    def _move(self, entry: TrackedProcess, who: ProcessIdentity) -> None:
        path = self._namespaces.cgroups.get(who.cgroup_id)
        if path is None and entry.exited_at is None and entry.cgroup_id is not None:
            path = self._reader.read_cgroup(who.pid)
        entry.cgroup_id = who.cgroup_id
        if path is not None and path != entry.context.cgroup:
            entry.context = replace(entry.context, cgroup=path)
            entry.container = self._container_of(path) or entry.container
            self._changed(entry)

    def _stale(self, who: ProcessIdentity, same: TrackedProcess | None) -> TrackedProcess:
        key = (who.pid, who.start_time, who.exec_generation, who.uid)
        entry = self._unknown.get(key)
        if entry is None:
            entry = from_record(who, self.boot_to_epoch)
            entry.is_stale = True
            entry.exec_time = None
            if (path := self._namespaces.cgroups.get(who.cgroup_id)) is not None:
                entry.container = self._container_of(path)
            if same is not None:
                entry.parent = same.parent
                entry.container = entry.container or same.container
            self._unknown.put(key, entry)
        return entry

    # Updating the table

    def _add(self, facts: ProcessFacts) -> TrackedProcess:
        entry = self.living[facts.pid] = from_facts(facts, self.boot_to_epoch)
        return entry

    def _settle(self, entry: TrackedProcess) -> None:
        """Set the parent, container and namespace start of a process read from /proc."""
        context = entry.context
        if context.ppid:
            self._set_parent(entry, context.ppid, may_read=True)
        if context.cgroup is not None:
            entry.container = self._container_of(context.cgroup) or entry.container
        self._set_container(entry)
        self._namespaces.complete(entry)

    def _take_context(self, entry: TrackedProcess, state: State) -> None:
        self._namespaces.learn(entry, state)
        is_new_parent = entry.context.ppid != state.ppid
        entry.comm = state.comm
        entry.context = context_of(state)
        entry.cgroup_id = state.who.cgroup_id
        entry.container = self._container_of(state.cgroup) or entry.container
        parent = self.living.get(state.ppid)
        if entry.container is not None and parent is not None and behind_helper(parent) is not parent:
            entry.context = replace(entry.context, ppid=behind_helper(parent).pid)
        self._set_parent(entry, entry.context.ppid or 0, may_read=is_new_parent)
        self._set_container(entry)

    def _set_container(self, entry: TrackedProcess) -> None:
        """Set the container of a process whose cgroup names none: its parent's, or that of its namespaces."""
        if entry.container is None and entry.parent is not None:
            entry.container = entry.parent.container
        if entry.container is None:
            entry.container = self._isolated(entry.pid, entry.context)

    def _set_parent(self, entry: TrackedProcess, ppid: int, *, may_read: bool) -> None:
        if entry.parent is not None and entry.parent.pid == ppid:
            return
        parent = self.living.get(ppid)
        if parent is None and ppid and entry.parent is None and may_read:
            facts = self._reader.read(ppid)
            if facts is not None:
                parent = self._add(facts)
                # Its own records will report its parent, so one read of /proc is enough here.
                parent.parent = self.living.get(facts.context.ppid or 0)
                parent.container = self._container_of(facts.context.cgroup or "/")
        if parent is None or parent is entry or is_adoption(entry, parent):
            return
        if entry not in ancestors(parent):
            entry.set_parent(parent)

    def _put(self, entry: TrackedProcess, time: int) -> None:
        self._retire(entry.pid, time)
        self.living[entry.pid] = entry

    def _retire(self, pid: int, time: int) -> None:
        if (entry := self.living.pop(pid, None)) is not None:
            self._exited.add(entry, time)

    def _changed(self, entry: TrackedProcess) -> None:
        entry.changed()
        self.changes += entry.is_pointed_at
