"""Invented records; a test states only the facts that it is about."""

from collector.processes.parts import Credentials, ExecutedProgram, ProcessContext, ProcessFacts
from collector.processes.table import ProcessTable
from collector.records.types import Exec, Exit, Fork, ProcessIdentity, State

ROOT_CGROUP = 1
CONTAINER_CGROUP = 77
CONTAINER_ID = "3d09256e" + "0" * 56
CONTAINER_PATH = f"/docker/{CONTAINER_ID}"
SECOND = 1_000_000_000
EPOCH = 1_700_000_000 * SECOND


def identity(
    pid: int,
    start: int = 0,
    *,
    time: int = 0,
    tid: int | None = None,
    generation: int = 1,
    uid: int = 0,
    cgroup: int = ROOT_CGROUP,
) -> ProcessIdentity:
    """Return the identity of a record's process; by default it starts at 1000 * pid."""
    start = start or pid * 1000
    return ProcessIdentity(time or start, pid, pid if tid is None else tid, start, generation, uid, cgroup)


def state(who: ProcessIdentity, **facts: object) -> State:
    """Return a state record of an ordinary process."""
    values: dict[str, object] = {
        "ppid": 1,
        "vpid": who.pid,
        "pgid": who.pid,
        "vpgid": who.pid,
        "sid": who.pid,
        "tty": 0,
        "loginuid": -1,
        "gid": who.uid,
        "cap_effective": 0,
        "cap_permitted": 0,
        "cap_inheritable": 0,
        "pid_namespace": 4026531836,
        "mount_namespace": 4026531841,
        "pid_namespace_init_start": 10,
        "comm": "thing",
        "cwd": "/",
        "cgroup": CONTAINER_PATH if who.cgroup_id == CONTAINER_CGROUP else "/",
    }
    return State(who=who, **{**values, **facts})  # type: ignore[arg-type]


def execution(who: ProcessIdentity, name: str, *arguments: str, **facts: object) -> Exec:
    """Return an exec record of /bin/NAME; further facts are of its state."""
    return Exec(
        state=state(who, comm=name, **facts),
        filename=f"/bin/{name}",
        exepath=f"/bin/{name}",
        codepath=f"/bin/{name}",
        args=(name, *arguments),
        args_truncated=False,
        env=(),
        exe_ino=1000,
        exe_dev=1,
        exe_mode=0o100755,
        exe_uid=0,
        exe_gid=0,
        exe_ctime=5,
        exe_mtime=6,
        is_upper_layer=False,
        is_lower_layer=True,
        is_from_memfd=False,
        event_type="execve",
    )


def fork(
    parent: ProcessIdentity, pid: int, start: int = 0, *, vpid: int | None = None, real_parent: int | None = None
) -> Fork:
    """Return a fork record; the child's generation is the parent's."""
    return Fork(
        who=parent,
        pid=pid,
        start_time=start or pid * 1000,
        vpid=pid if vpid is None else vpid,
        exec_generation=parent.exec_generation,
        real_parent_pid=parent.pid if real_parent is None else real_parent,
    )


def exit_of(who: ProcessIdentity) -> Exit:
    """Return the record of a process's end."""
    return Exit(who, 0)


def facts(pid: int, name: str, start_ticks: int = 0, *, ppid: int = 1, uid: int = 0, **context: object) -> ProcessFacts:
    """Return what /proc would show."""
    where: dict[str, object] = {"ppid": ppid, "vpid": pid, "pgid": pid, "vpgid": pid, "sid": pid, "cgroup": "/"}
    return ProcessFacts(
        pid=pid,
        start_ticks=start_ticks,
        program=ExecutedProgram(name=name, exe=name, exepath=f"/bin/{name}", args=()),
        credentials=Credentials(uid, uid, 0, 0, 0),
        context=ProcessContext(**{**where, **context}),  # type: ignore[arg-type]
    )


class Proc:
    """A /proc of invented processes that counts how often it is read."""

    def __init__(self, *processes: ProcessFacts) -> None:
        self.processes = {each.pid: each for each in processes}
        self.threads: dict[tuple[int, int], Credentials] = {}
        self.reads = 0

    def read(self, pid: int) -> ProcessFacts | None:
        """Return a process."""
        self.reads += 1
        return self.processes.get(pid)

    def pids(self) -> list[int]:
        """Return all pids."""
        return list(self.processes)

    def read_credentials(self, pid: int, tid: int) -> Credentials | None:
        """Return a thread's credentials."""
        self.reads += 1
        return self.threads.get((pid, tid))

    def read_cgroup(self, pid: int) -> str | None:
        """Return a process's cgroup."""
        self.reads += 1
        return self.processes[pid].context.cgroup if pid in self.processes else None


def table(*processes: object) -> tuple[ProcessTable, Proc]:
    """Return an empty table and the /proc behind it."""
    proc = Proc(*processes)  # type: ignore[arg-type]
    return ProcessTable(proc, EPOCH), proc
