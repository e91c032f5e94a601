"""Makes a batch from a case's events with the collector's own code; only the kernel and /proc are simulated."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from collector.containers.docker import container_from
from collector.events.batch_builder import BatchBuilder
from collector.events.build import EventSource, add_exec, add_syscall, exchanged_back
from collector.events.network_names import LookedUpNames, ServerNames
from collector.events.system_calls import CALLS
from collector.events.texts import signed32
from collector.processes.container_names import ContainerName, container_of
from collector.processes.parts import Credentials, ExecutedProgram, ProcessContext, ProcessFacts
from collector.processes.process import TICK, LocatedFile, TrackedProcess
from collector.processes.rows import ProcessRows
from collector.processes.table import ProcessTable
from collector.processes.users import Names, User, UserAccounts
from collector.records.types import Exec, ProcessIdentity, State, Syscall
from lanner.ruletest.events.processes import digits
from lanner.ruletest.model import HOSTNAME, ContainerSpec, ProcessSpec, StatedDocument, StatedEvent
from processor.fields.json.documents import Document, JsonSource
from schemas.batch import Container, EventBatch, ProgramFile, file_text
from schemas.catalog.fields import K8S_AUDIT

START = 1_704_067_200_000_000_000
"""Start time of every case: 2024-01-01T00:00:00Z, ns since the epoch."""
_BOOT = START - 400 * 86400 * 10**9
_BOOT_CLOCK = START - _BOOT
_FIRST_PID = 1000
_POD_LABELS = "io.kubernetes.pod."
_OVERRIDES = {"setuid": 0, "setresuid": 1, "setreuid": 1}
_GROUP_OVERRIDES = {"setgid": 0, "setresgid": 1, "setregid": 1}
_RUNTIME_PREFIXES = {"docker": "docker", "containerd": "cri-containerd", "cri-o": "crio", "podman": "libpod"}


class _NoProc:
    """An empty /proc: what a test's records don't state is unknown."""

    def read(self, pid: int) -> ProcessFacts | None:  # noqa: ARG002
        return None

    def read_credentials(self, pid: int, tid: int) -> Credentials | None:  # noqa: ARG002
        return None

    def read_cgroup(self, pid: int) -> str | None:  # noqa: ARG002
        return None


class _Runtimes:
    """Answers for the containers of a case, using the code that parses Docker's answers."""

    version = 0

    def __init__(self) -> None:
        self._facts: dict[str, Container] = {}

    def add(self, spec: ContainerSpec) -> None:
        name = container_of(cgroup_of(spec))
        if name is not None and spec.id not in self._facts:
            facts = container_from(name, _inspected(spec))
            self._facts[spec.id] = replace(
                facts,
                type=spec.type,
                image_digest=spec.digest,
                is_truncated=spec.truncated,
                privileged=None if spec.truncated and not spec.privileged else spec.privileged,
            )

    def facts(self, name: ContainerName) -> Container:
        return self._facts[name.full_id]


class _Users:
    """The users and groups that the processes of a case name."""

    def __init__(self) -> None:
        self.users = {0: User("root", "/root", "/bin/bash")}
        self.groups = {0: "root"}

    def add(self, spec: ProcessSpec) -> None:
        if spec.user is not None:
            home = "/root" if spec.uid == 0 else f"/home/{spec.user}"
            self.users.setdefault(spec.uid, User(spec.user, home, "/bin/bash"))
        if spec.group is not None:
            self.groups.setdefault(spec.gid, spec.group)

    def names(
        self, uid: int, gid: int | None, loginuid: int | None, container: ContainerName | None, pids: tuple[int, ...]
    ) -> Names:
        del container, pids
        return UserAccounts(self.users, self.groups).names(uid, gid, loginuid)


class _Programs:
    """What the programs of a case are, by pid."""

    def __init__(self) -> None:
        self.version = 0
        self._files: dict[int, ProgramFile | None] = {}
        self._scripts: dict[int, ProgramFile | None] = {}

    def add(self, pid: int, spec: ProcessSpec) -> None:
        found = ProgramFile(spec.sha256, spec.origin, spec.package, written_by=spec.written_by)
        self._files[pid] = None if found == ProgramFile() else found
        self._scripts[pid] = spec.script
        self.version += 1

    def file(self, entry: TrackedProcess) -> ProgramFile | None:
        return self._files.get(entry.pid)

    def script(self, entry: TrackedProcess) -> ProgramFile | None:
        return self._scripts.get(entry.pid)

    def opened_text(self, file: LocatedFile) -> str:
        """Return nothing: a test states what was opened."""
        del file
        return ""

    def wrote(self, file: tuple[int, int], entry: TrackedProcess, user: str | None, at: int) -> None:
        """Ignore it: a test states who wrote a program."""


def cgroup_of(spec: ContainerSpec) -> str:
    """Return the cgroup that a runtime would create for a container."""
    prefix = _RUNTIME_PREFIXES[spec.type]
    if spec.pod is not None:
        uid = spec.pod.uid.replace("-", "_")
        return f"/kubepods.slice/kubepods-pod{uid}.slice/{prefix}-{spec.id}.scope"
    return f"/system.slice/{prefix}-{spec.id}.scope"


def _inspected(spec: ContainerSpec) -> Mapping[str, object]:
    """Return the Docker API's answer for a container."""
    labels = dict(spec.labels)
    if spec.pod is not None:
        labels |= dict(spec.pod.labels) | {f"{_POD_LABELS}{key}": value for key, value in spec.pod.names}
        # The labels of a sandbox are the pod's.
        labels["io.kubernetes.docker.type"] = "podsandbox"
    return {
        "Name": f"/{spec.name}" if spec.name else "",
        "Image": f"sha256:{hashlib.sha256((spec.image or '').encode('utf-8', 'surrogateescape')).hexdigest()}",
        "Config": {"Image": spec.image or "", "User": spec.user or "", "Labels": labels},
        "HostConfig": {
            "Privileged": spec.privileged,
            "PidMode": "host" if spec.host_pid else "",
            "NetworkMode": "host" if spec.host_network else "bridge",
            "IpcMode": "host" if spec.host_ipc else "private",
        },
        "State": {"StartedAt": "2023-12-31T23:00:00Z"},
        "NetworkSettings": {"IPAddress": spec.ip or ""},
        "Mounts": [
            {"Source": source, "Destination": destination, "Mode": "", "RW": rw, "Propagation": "rprivate"}
            for source, destination, rw in spec.mounts
        ],
    }


class World:
    """The processes, users and containers of one host of a case, and the batch of its events."""

    def __init__(self, hostname: str = HOSTNAME) -> None:
        self._hostname = hostname
        self._table = ProcessTable(_NoProc(), _BOOT)
        self._users, self._runtimes = _Users(), _Runtimes()
        self._rows = ProcessRows(self._table, self._users, self._runtimes)
        self._rows.programs = self._programs = _Programs()
        self._builder, self._looked_up, self._server_names = BatchBuilder(), LookedUpNames(), ServerNames()
        self._pids: dict[ProcessSpec, int] = {}
        self._next_pid = _FIRST_PID
        self._generations: dict[int, int] = {}
        self._sequence = self._first_number = 1

    def add(self, event: StatedEvent, number: int) -> None:
        """Add an event; number is its index in the case, which orders events with the same time."""
        now = _BOOT_CLOCK + event.at + event.clock + number
        entry = self._entry(event, now)
        row = self._rows.row(entry)
        process = self._rows.processes[row]
        origin = EventSource(process, row, False, self._user_name, self._group_name)
        if event.call is None:
            add_exec(self._builder, self._exec_record(event, entry, now), origin, now + _BOOT)
        else:
            call = _syscall_record(event, entry, now)
            for each in (call, exchanged_back(call)):
                if each is not None:
                    answers = self._looked_up.receive(each, entry.container, process.user)
                    names = self._looked_up.reader(each, entry.container)
                    answer = answers[0] if answers else None
                    server_name, _ = self._server_names.receive(each)
                    add_syscall(
                        *(self._builder, each, origin, now + _BOOT),
                        answer=answer,
                        names=names,
                        server_name=server_name,
                        file=None if event.file is None else file_text(event.file),
                    )

    def take(self) -> Iterator[EventBatch]:
        """Yield the events since the last call as one batch; nothing if there are none."""
        if self._builder.count:
            yield self.batch()
            self._first_number += self._builder.count
            self._sequence += 1
            self._builder = BatchBuilder()

    def batch(self) -> EventBatch:
        """Return all events as one batch."""
        processes, containers = self._rows.take()
        return EventBatch(
            host_id="0" * 32 if self._hostname == HOSTNAME else digits(self._hostname)[:32],
            hostname=self._hostname,
            boot_id="",
            collector_start=START,
            sequence=self._sequence,
            created=START,
            collector_version="",
            kernel="",
            first_number=self._first_number,
            count=self._builder.count,
            strings=self._builder.strings,
            processes=processes,
            containers=containers,
            columns=self._builder.columns(),
        )

    def _user_name(self, uid: int) -> str | None:
        user = self._users.users.get(uid)
        return None if user is None else user.name

    def _group_name(self, gid: int) -> str | None:
        return self._users.groups.get(gid)

    def _entry(self, event: StatedEvent, now: int) -> TrackedProcess:
        spec = event.process
        for each in _line(spec):
            self._users.add(each)
            if each.container is not None:
                self._runtimes.add(each.container)
        self._seed(spec, now)
        pid = self._pids[spec]
        entry = self._living(pid)
        if event.call is None:
            self._generations[pid] = self._generations.get(pid, 0) + 1
            self._table.apply(self._exec_record(event, entry, now))
        elif event.call.result >= 0:
            state = _state_after(event, entry, now)
            if state is not None:
                self._table.apply(state)
        return self._living(pid)

    def _living(self, pid: int) -> TrackedProcess:
        entry = self._table.living.get(pid)
        assert entry is not None  # noqa: S101  it was seeded
        return entry

    def _seed(self, spec: ProcessSpec, now: int) -> None:
        """Add a process and its ancestors if they are unknown, the oldest first."""
        for each in reversed(_line(spec)):
            if each in self._pids:
                continue
            pid = each.pid
            if pid is None:
                while self._next_pid in self._pids.values():
                    self._next_pid += 1
                pid = self._next_pid
            self._pids = {known: number for known, number in self._pids.items() if number != pid}
            self._pids[each] = pid
            self._programs.add(pid, each)
            self._table.seed([self._facts(each, pid, now)])

    def _facts(self, spec: ProcessSpec, pid: int, now: int) -> ProcessFacts:
        line = _line(spec)
        eldest = self._pids.get(line[-1], pid)
        # A parent is older than its child.
        start = max(now - spec.age, len(line) * TICK)
        return ProcessFacts(
            pid=pid,
            start_ticks=start // TICK,
            program=_program(spec),
            credentials=Credentials(spec.uid, spec.gid, spec.caps, spec.caps, 0),
            context=ProcessContext(
                ppid=1 if spec.parent is None else self._pids[spec.parent],
                vpid=spec.vpid or pid,
                pgid=pid,
                vpgid=spec.vpid or pid,
                sid=eldest,
                tty=spec.tty,
                loginuid=spec.loginuid,
                cwd=spec.cwd,
                cgroup="/" if spec.container is None else cgroup_of(spec.container),
            ),
        )

    def _exec_record(self, event: StatedEvent, entry: TrackedProcess, now: int) -> Exec:
        spec = event.process
        return Exec(
            state=_state(entry, now, self._generations.get(entry.pid, 1), spec),
            filename=event.filename,
            exepath=spec.exepath or "",
            codepath=spec.codepath,
            args=() if spec.exe is None else (spec.exe, *spec.args),
            args_truncated=False,
            env=spec.env,
            exe_dev=8 << 20 | 1,
            event_type=event.type,
            **_executable(spec),
        )


def make_batch(events: Sequence[StatedEvent]) -> EventBatch:
    """Return the batch that a collector would have sent for the events of one case, all of one host."""
    world = World(events[0].hostname if events else HOSTNAME)
    for number, event in enumerate(sorted(events, key=lambda each: each.at)):
        world.add(event, number)
    return world.batch()


def make_items(
    events: Sequence[StatedEvent | StatedDocument], source_named: Callable[[str], JsonSource]
) -> Iterator[EventBatch | Document]:
    """Yield what would have arrived for the events of one case: JSON events, and the batches of hosts between them.

    If a clock is wrong, each event is a batch of its own, with the time at which it arrives.
    """
    worlds: dict[str, World] = {}
    numbered = enumerate(sorted(events, key=lambda each: each.at))
    has_clocks = any(isinstance(event, StatedEvent) and event.clock for event in events)
    for (hostname, _), consecutive in groupby(
        numbered, lambda pair: (getattr(pair[1], "hostname", None), pair[0] if has_clocks else 0)
    ):
        arrived = 0
        if hostname is not None and hostname not in worlds:
            worlds[hostname] = World(hostname)
        for number, event in consecutive:
            if isinstance(event, StatedEvent):
                worlds[event.hostname].add(event, number)
                arrived = START + event.at + number if has_clocks else 0
            else:
                yield _document(event, number, source_named)
        if hostname is not None:
            yield from (replace(batch, appended=arrived) for batch in worlds[hostname].take())


def _document(event: StatedDocument, number: int, source_named: Callable[[str], JsonSource]) -> Document:
    document = dict(event.document)
    if event.source == K8S_AUDIT:
        document.setdefault("auditID", f"event {number}")
    time = START + event.at + number
    return Document(document, time, number, time, source_named(event.source))


def _line(spec: ProcessSpec) -> list[ProcessSpec]:
    line = [spec]
    while line[-1].parent is not None:
        line.append(line[-1].parent)
    return line


def _program(spec: ProcessSpec) -> ExecutedProgram:
    return ExecutedProgram(
        name=spec.name,
        exe=spec.exe,
        exepath=spec.exepath,
        codepath=spec.codepath,
        args=spec.args,
        env=spec.env or None,
        **_executable(spec),
    )


def _executable(spec: ProcessSpec) -> dict[str, Any]:
    return {
        "exe_ino": spec.exe_ino,
        "exe_mode": spec.exe_mode,
        "exe_uid": spec.exe_uid,
        "exe_gid": 0,
        "exe_ctime": START - spec.exe_age,
        "exe_mtime": START - spec.exe_age,
        "is_upper_layer": spec.upper_layer,
        "is_lower_layer": spec.lower_layer,
        "is_from_memfd": spec.memfd,
    }


def _identity(entry: TrackedProcess, now: int, generation: int) -> ProcessIdentity:
    uid = entry.credentials.uid
    return ProcessIdentity(now, entry.pid, entry.pid, entry.start_time, generation, uid, entry.cgroup_id or 0)


def _state(entry: TrackedProcess, now: int, generation: int, spec: ProcessSpec) -> State:
    context, credentials = entry.context, entry.credentials
    return State(
        who=_identity(entry, now, generation),
        ppid=context.ppid or 0,
        vpid=context.vpid or entry.pid,
        pgid=context.pgid or entry.pid,
        vpgid=context.vpgid or entry.pid,
        sid=context.sid or entry.pid,
        tty=context.tty or 0,
        loginuid=-1 if context.loginuid is None else context.loginuid,
        gid=credentials.gid or 0,
        cap_effective=credentials.cap_effective or 0,
        cap_permitted=credentials.cap_permitted or 0,
        cap_inheritable=credentials.cap_inheritable or 0,
        pid_namespace=1,
        mount_namespace=1,
        pid_namespace_init_start=10 * TICK,
        comm=spec.name,
        cwd=context.cwd or "/",
        cgroup=context.cgroup or "/",
    )


def _state_after(event: StatedEvent, entry: TrackedProcess, now: int) -> State | None:
    """Return what the kernel side reports of a process after a call that changed it; None if nothing changed."""
    call = event.call
    assert call is not None  # noqa: S101  an exec has a record of its own
    state = _state(entry, now, entry.exec_generation or 0, event.process)
    if event.type in _OVERRIDES:
        uid = signed32(call.arguments[_OVERRIDES[event.type]])
        return replace(state, who=replace(state.who, uid=uid)) if uid >= 0 else None
    if event.type in _GROUP_OVERRIDES:
        gid = signed32(call.arguments[_GROUP_OVERRIDES[event.type]])
        return replace(state, gid=gid) if gid >= 0 else None
    if event.type == "setsid":
        return replace(state, sid=entry.pid, pgid=entry.pid)
    return None


def _syscall_record(event: StatedEvent, entry: TrackedProcess, now: int) -> Syscall:
    assert event.call is not None  # noqa: S101  an exec has a record of its own
    blob = event.call.blob1
    for argument in CALLS[event.call.event].arguments if blob else ():
        if argument.kind == "age":
            at = 8 * argument.index
            seconds = int.from_bytes(blob[at : at + 8], "little") + (now + _BOOT) // 10**9
            blob = blob[:at] + (seconds & 2**64 - 1).to_bytes(8, "little") + blob[at + 8 :]
    return replace(
        event.call,
        blob1=blob,
        who=_identity(entry, now, entry.exec_generation or 0),
        vtid=entry.context.vpid or entry.pid,
        result=entry.pid if event.type == "setsid" else event.call.result,
    )
