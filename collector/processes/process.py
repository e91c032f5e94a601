"""One process in the table: an identity that never changes, and parts that are replaced as the process changes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from collector.processes.container_names import ContainerName
from collector.processes.parts import UNKNOWN_PROGRAM, Credentials, ExecutedProgram, ProcessContext, ProcessFacts
from collector.records.types import ProcessIdentity

TICK = 10_000_000
"""Nanoseconds per clock tick, the unit of start times in /proc."""

FileKey = tuple[int, int, int, int, bool]
"""Device, inode, times of change and modification, and whether it was run outside of containers."""


@dataclass(frozen=True, slots=True)
class LocatedFile:
    """The file of a script, or of code that was opened or mapped, as it was at its path soon after that."""

    key: FileKey
    path: str
    """All links resolved."""
    is_certain: bool
    """True if no user can have made a link on the way afterwards that leads to another file."""

    @property
    def ctime(self) -> int:
        """When its inode was last changed, ns since the epoch."""
        return self.key[2]


_NONE: Mapping[int, Credentials] = MappingProxyType({})

MAX_IDENTITIES = 8
"""User ids under which threads of one process are remembered."""


class TrackedProcess:
    """The state of one process now. The version counts changes, so that rows can check whether they are still true.

    A plain mutable class, because every event touches one. Compared by identity and used as a key.
    """

    __slots__ = (
        "cgroup_id",
        "comm",
        "container",
        "context",
        "credentials",
        "depth",
        "exec_generation",
        "exec_time",
        "exited_at",
        "frozen",
        "group_leader",
        "is_pointed_at",
        "is_stale",
        "other_users",
        "parent",
        "pid",
        "program",
        "script_file",
        "session_leader",
        "start_epoch",
        "start_is_exact",
        "start_time",
        "version",
        "views",
    )

    def __init__(
        self,
        pid: int,
        start_time: int,
        start_epoch: int,
        credentials: Credentials,
        *,
        program: ExecutedProgram = UNKNOWN_PROGRAM,
        context: ProcessContext | None = None,
        exec_generation: int | None = None,
        cgroup_id: int | None = None,
        container: ContainerName | None = None,
        parent: "TrackedProcess | None" = None,
        start_is_exact: bool = True,
        is_stale: bool = False,
    ) -> None:
        self.pid = pid
        self.start_time = start_time
        self.start_epoch = start_epoch
        self.start_is_exact = start_is_exact
        self.exec_generation = exec_generation
        self.exec_time: int | None = start_epoch
        self.cgroup_id = cgroup_id
        self.program = program
        self.credentials = credentials
        self.comm = program.name
        """The name that children inherit: unlike the program's, it follows prctl."""
        self.context = ProcessContext() if context is None else context
        self.container = container
        self.parent = parent
        self.is_stale = is_stale
        self.is_pointed_at = False
        """True if rows of other processes may refer to it: it has been a parent or a leader."""
        self.depth = 0
        """One more than its parent's when that was set: a short lineage needn't be followed to be found short."""
        if parent is not None:
            self.depth = parent.depth + 1
            parent.is_pointed_at = True
        self.exited_at: int | None = None
        """Boot-clock time of the end; None while alive."""
        self.version = 0
        self.other_users: Mapping[int, Credentials] = _NONE
        self.views: Mapping[int, TrackedProcess] = _NO_VIEWS
        self.script_file: LocatedFile | None = None
        """The file of its script as it was soon after the start, if that is looked up."""
        self.frozen: tuple[int, TrackedProcess] | None = None
        self.session_leader: TrackedProcess | None = None
        """Set in frozen copies only; for a living process it is looked up."""
        self.group_leader: TrackedProcess | None = None

    def __repr__(self) -> str:
        return f"TrackedProcess({self.pid}, {self.start_time}, {self.program.name!r})"

    def set_parent(self, parent: "TrackedProcess") -> None:
        """Set the parent, whose row this process's row refers to."""
        self.parent = parent
        self.depth = parent.depth + 1
        parent.is_pointed_at = True

    def started_at(self, start_time: int) -> bool:
        """Return whether a kernel start time (boot clock, ns) is this process's, allowing for /proc's coarse clock."""
        if self.start_is_exact:
            return self.start_time == start_time
        return self.start_time // TICK == start_time // TICK

    def adopt_start(self, start_time: int, boot_to_epoch: int) -> bool:
        """Take over the exact start time from a record, boot clock, ns; return False if the start was exact already."""
        if self.start_is_exact:
            return False
        start_epoch = start_time + boot_to_epoch
        if self.exec_time == self.start_epoch:
            self.exec_time = start_epoch
        self.start_time, self.start_epoch, self.start_is_exact = start_time, start_epoch, True
        return True

    def renew(self, facts: ProcessFacts, exec_generation: int | None) -> None:
        """Replace the facts by those read from /proc. exec_generation: of the program; None if unknown."""
        if facts.program is not self.program:
            self.program = facts.program
            self.comm = facts.program.name
            self.exec_time = None
        self.credentials = facts.credentials
        self.forget_users()
        self.context = replace(facts.context, pid_namespace_init_start=self.context.pid_namespace_init_start)
        self.exec_generation = exec_generation

    def copy(self, *, credentials: Credentials | None = None) -> "TrackedProcess":
        """Return a detached copy that later changes leave as it is."""
        twin = TrackedProcess(
            self.pid,
            self.start_time,
            self.start_epoch,
            self.credentials if credentials is None else credentials,
            program=self.program,
            context=self.context,
            exec_generation=self.exec_generation,
            cgroup_id=self.cgroup_id,
            container=self.container,
            parent=self.parent,
            start_is_exact=self.start_is_exact,
            is_stale=self.is_stale,
        )
        twin.exec_time = self.exec_time
        twin.exited_at = self.exited_at
        twin.comm = self.comm
        twin.script_file = self.script_file
        twin.session_leader = self.session_leader
        twin.group_leader = self.group_leader
        return twin

    def seen_as(self, uid: int) -> "TrackedProcess | None":
        """Return this process as its threads under another user id see it, if that is known.

        File servers change the user of single threads all the time, and reading /proc each time would be slow.
        """
        view = self.views.get(uid)
        if view is None and uid in self.other_users:
            view = self.copy(credentials=self.other_users[uid])
            self.views = {**self.views, uid: view}
        return view

    def forget_users(self) -> None:
        """Forget the credentials of single threads."""
        self.other_users = _NONE

    def remember_as(self, credentials: Credentials) -> None:
        """Store the credentials of some of the process's threads."""
        others = dict(self.other_users)
        others.pop(credentials.uid, None)
        if len(others) >= MAX_IDENTITIES:
            del others[next(iter(others))]
        others[credentials.uid] = credentials
        self.other_users = others
        self.views = {uid: view for uid, view in self.views.items() if uid in others and uid != credentials.uid}

    def changed(self) -> None:
        """Count a change; copies made before it are out of date."""
        self.version += 1
        if self.pid in {self.context.pgid, self.context.sid}:
            self.is_pointed_at = True
        self.views = _NO_VIEWS

    def child(self, pid: int, start_time: int, start_epoch: int, exec_generation: int, vpid: int) -> "TrackedProcess":
        """Return a process just forked from this one: all other facts are the parent's.

        Its name is the parent's current one. Falco does the same, and its rules recognize the helpers of container
        runtimes by the names that they set between two forks.
        """
        context = self.context
        is_namespace_init = vpid == 1 and pid != 1
        child = TrackedProcess(
            pid,
            start_time,
            start_epoch,
            self.credentials,
            program=self.program if self.comm == self.program.name else replace(self.program, name=self.comm),
            context=ProcessContext(
                self.pid,
                vpid,
                context.pgid,
                context.vpgid,
                context.sid,
                context.tty,
                context.loginuid,
                None if is_namespace_init else context.pid_namespace,
                context.mount_namespace,
                start_time if is_namespace_init else context.pid_namespace_init_start,
                context.cwd,
                context.cgroup,
            ),
            exec_generation=exec_generation,
            cgroup_id=self.cgroup_id,
            container=self.container,
            parent=self,
            is_stale=self.is_stale,
        )
        child.script_file = self.script_file
        return child


_NO_VIEWS: Mapping[int, TrackedProcess] = MappingProxyType({})


def from_record(who: ProcessIdentity, boot_to_epoch: int) -> TrackedProcess:
    """Return a process of which only a record's identity is known."""
    return TrackedProcess(
        who.pid,
        who.start_time,
        who.start_time + boot_to_epoch,
        Credentials(who.uid),
        exec_generation=who.exec_generation,
        cgroup_id=who.cgroup_id,
    )


def from_facts(facts: ProcessFacts, boot_to_epoch: int) -> TrackedProcess:
    """Return a process as read from /proc; its start time is only known to a clock tick."""
    start = facts.start_ticks * TICK
    entry = TrackedProcess(
        facts.pid,
        start,
        start + boot_to_epoch,
        facts.credentials,
        program=facts.program,
        context=facts.context,
        start_is_exact=False,
    )
    entry.is_pointed_at = True
    return entry
