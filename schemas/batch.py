"""An event batch in memory, the table rows that its events refer to, and smaller batches of some of its events.

Collector and processor share these classes: within one process, a batch passes between them without copying.
"""

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntFlag

from schemas.pod import Pod

MISSING_INT = -(2**31)
""""No value" in the integer columns that have no natural empty value."""

STRING_COLUMNS = (
    "type",  # evt.type
    "fd_type",  # fd.type: file, directory, ipv4, ipv6, unix, fifo ...
    "fd_name",  # fd.name: the lexical name, or "ip:port->ip:port"
    "fd_name_raw",  # fd.nameraw: the argument as passed
    "fd_realpath",  # the kernel's own path of the opened file
    "local_ip",
    "remote_ip",
    "l4proto",  # tcp, udp, icmp, raw
    "sock_family",  # ip, unix
    "path_name",  # fs.path.name
    "path_name_raw",
    "path_source",
    "path_source_raw",
    "path_target",
    "path_target_raw",
    "buffer",  # evt.buffer, as text
    "dns",  # of a received answer, with blanks between them: name, requested type, response code, each answer
    "remote_names",  # the names that were looked up for remote_ip, with blanks between them, the newest first
    "server_name",  # the server name in the ClientHello that the call sent
    "fd_file",  # of a file of code that was opened or mapped, with NULs between them: the texts of FILE_FACTS
)
"""Columns of indices (i32) into the batch's strings; index 0 means a missing value."""

NUMBER_COLUMNS = {
    "time": "q",  # ns since the epoch
    "process": "i",  # row in processes
    "thread": "i",  # thread.tid
    "vthread": "i",  # thread.vtid; MISSING_INT if unknown
    "cpu": "h",
    "res": "q",  # evt.rawres; for calls that return an address, the address
    "bits": "I",  # EventBit
    "repeats": "I",  # evt.count - 1: the number of further equal events of the process that this one represents
    "fd_num": "i",  # MISSING_INT if the event has no descriptor
    "fd_dev": "I",  # 0 if unknown
    "fd_ino": "Q",  # 0 if unknown
    "local_port": "i",  # -1 if there is none
    "remote_port": "i",
}
"""Columns of numbers, by their struct format character (little-endian)."""

ARGUMENT_COLUMNS = {
    "arg_start": "I",  # one more element than events: event i owns [arg_start[i], arg_start[i+1])
    "arg_name": "i",  # index into strings
    "arg_value": "i",  # index into strings: the value as evt.arg returns it
    "arg_raw": "q",  # the number, as evt.rawarg returns it; 0 if there is none
}
"""The arguments of all events of a batch, one after another."""

EVENT_COLUMNS = {**NUMBER_COLUMNS, **dict.fromkeys(STRING_COLUMNS, "i")}

Column = Sequence[int]
INCOMPLETE_REASONS = frozenset({"process_stale", "look_ups_given_up", "dns_unreadable", "tls_unreadable"})
"""Reasons of `EventBatch.lost` that lost no event: facts about it, its process or its container were left out."""
FILE_FACTS = (
    *("sha256", "origin", "package", "package_version", "written_by", "written_by_user", "written_at"),
    "package_type",
)
"""Members of ProgramFile, in the order in which the column fd_file has them; those that are new come last."""
NOBODY = 1 << 32
"""The pid in the row of events without a process; the kernel has no such pid."""
_LINKS = ("parent", "session_leader", "group_leader")


class EventBit(IntFlag):
    """Boolean properties of an event, packed because most rules test at least one of them."""

    OPEN_READ = 1 << 0
    OPEN_WRITE = 1 << 1
    OPEN_EXEC = 1 << 2
    OPEN_CREATE = 1 << 3
    FAILED = 1 << 4
    HAS_ROLE = 1 << 5  # which side of the socket is the server is known
    IS_SERVER = 1 << 6  # the local side is the server
    CONNECTED = 1 << 7
    NAME_CHANGED = 1 << 8
    UPPER_LAYER = 1 << 9  # of an overlay file system
    LOWER_LAYER = 1 << 10
    IO_URING = 1 << 11
    COMPAT_32 = 1 << 12  # entered by the 32-bit gate
    PROCESS_STALE = 1 << 13  # the process exited before it could be read: its properties are missing
    HAS_RES = 1 << 14  # evt.res and evt.rawres have a value
    OPEN_SETUID = 1 << 15


def events_lost(numbers: Mapping[str, int]) -> int:
    """Return how many events are lost, from numbers by reason."""
    return sum(number for reason, number in numbers.items() if reason not in INCOMPLETE_REASONS and number > 0)


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount of a container, as the container runtime reports it."""

    source: str
    dest: str
    mode: str
    rw: bool
    propagation: str


@dataclass(frozen=True, slots=True)
class Container:
    """One container, as its runtime describes it; the Kubernetes fields come from its labels."""

    id: str
    """The first 12 digits of full_id."""
    full_id: str
    type: str
    """docker, containerd, cri-o, podman ...; derived from the cgroup's name if the runtime was not queried."""
    name: str | None = None
    image: str | None = None
    image_id: str | None = None
    image_repository: str | None = None
    image_tag: str | None = None
    image_digest: str | None = None
    privileged: bool | None = None
    start_ts: int | None = None
    """Nanoseconds since the epoch."""
    ip: str | None = None
    user: str | None = None
    host_pid: bool | None = None
    host_network: bool | None = None
    host_ipc: bool | None = None
    is_truncated: bool = False
    """True if there is more about it than was read: its mounts, its specification or its runtime's answer."""
    mounts: tuple[Mount, ...] | None = None
    labels: tuple[tuple[str, str], ...] | None = None
    pod_name: str | None = None
    pod_uid: str | None = None
    pod_namespace: str | None = None
    pod_sandbox_id: str | None = None
    pod_labels: tuple[tuple[str, str], ...] | None = None
    pod: Pod | None = None
    """The Kubernetes API server's facts about its pod; set by the evaluating process, never sent."""


@dataclass(frozen=True, slots=True)
class ProgramFile:
    """What the file of a program is. None means unknown."""

    sha256: str | None = None
    """In hexadecimal."""
    origin: str | None = None
    """package, modified, image, dropped, memory or unknown; docs/rules.md explains them."""
    package: str | None = None
    package_version: str | None = None
    written_by: str | None = None
    """Name of the process that opened it for writing last, as far as such events are collected."""
    written_by_user: str | None = None
    written_at: int | None = None
    """When it did, nanoseconds since the epoch."""
    path: str | None = None
    """Its path; None for an executable, whose path its process states."""
    package_type: str | None = None
    """The package's: deb, rpm, apk, snap or flatpak."""


def file_text(file: ProgramFile) -> str:
    """Return the facts about a file of code as the column fd_file has them."""
    return "\0".join("" if (fact := getattr(file, name)) is None else str(fact) for name in FILE_FACTS)


@dataclass(frozen=True, slots=True)
class NetworkServer:
    """What a process is that listens where other machines may reach it. None means unknown."""

    listening: tuple[str, ...]
    """Such as tcp 0.0.0.0:22."""
    package: str | None = None
    """That of its program."""
    package_version: str | None = None
    package_type: str | None = None
    libraries: tuple[str, ...] = ()
    """Packages of what else it has mapped, with versions."""


# Not frozen, although instances must not be changed: creating a frozen one takes five times as long.
@dataclass(slots=True, unsafe_hash=True)
class Process:
    """An immutable snapshot of a process at the time of its events.

    None means unknown; rules treat such a field as missing.
    """

    pid: int
    ppid: int | None = None
    vpid: int | None = None
    pgid: int | None = None
    vpgid: int | None = None
    sid: int | None = None
    name: str | None = None
    """The name of the main thread as of the last exec, at most 15 bytes."""
    exe: str | None = None
    """argv[0], as passed."""
    exepath: str | None = None
    """The kernel's path of the executable."""
    codepath: str | None = None
    """The path of the program or script; None if it may run code of whoever started it."""
    args: tuple[str, ...] | None = None
    """All arguments except argv[0]."""
    env: tuple[str, ...] | None = None
    cwd: str | None = None
    tty: int | None = None
    """Device number of the terminal; 0 for none."""
    loginuid: int | None = None
    """-1 if the audit session has no user."""
    uid: int | None = None
    gid: int | None = None
    user: str | None = None
    group: str | None = None
    login_name: str | None = None
    home: str | None = None
    shell: str | None = None
    cap_effective: int | None = None
    cap_permitted: int | None = None
    cap_inheritable: int | None = None
    is_exe_writable: bool | None = None
    is_exe_upper_layer: bool | None = None
    is_exe_lower_layer: bool | None = None
    is_exe_from_memfd: bool | None = None
    exe_ino: int | None = None
    exe_ino_ctime: int | None = None
    exe_ino_mtime: int | None = None
    start_time: int | None = None
    """Nanoseconds since the epoch at which the process (its main thread) was created."""
    exec_time: int | None = None
    """Nanoseconds since the epoch of the last exec; start_time if there was none."""
    pidns_init_start_time: int | None = None
    exec_generation: int = 0
    is_args_truncated: bool = False
    """True if the process has more arguments than `args` contains."""
    is_env_truncated: bool = False
    """True if only part of the environment was searched for the variables in `env`."""
    cgroup: str | None = None
    container: int = -1
    """Row in the batch's containers; -1 for the host."""
    parent: int = -1
    """Row of the parent, smaller than this row; -1 if unknown."""
    session_leader: int = -1
    """Row of the session leader, at most this row; -1 if unknown."""
    group_leader: int = -1
    """Row of the process group leader, at most this row; -1 if unknown."""
    file: ProgramFile | None = None
    """What the executable is; None if no rule uses that."""
    script: ProgramFile | None = None
    """What the script is that it was asked to run; None if there is none, or no rule uses that."""
    server: NetworkServer | None = None
    """What listens in it; None if nothing does, or the collector's settings don't require that."""


@dataclass(slots=True)
class EventBatch:
    """The events of one host over a short time: a header, the tables, and one column for each property of an event."""

    host_id: str
    hostname: str
    boot_id: str
    collector_start: int
    """Wall clock at the collector's start, ns. Together with boot_id and sequence it uniquely identifies a batch."""
    sequence: int
    created: int
    """Wall clock, ns."""
    collector_version: str
    kernel: str
    first_number: int
    """evt.num of the first event; it increases by one per event, unless `numbers` is set."""
    count: int
    strings: list[str | None]
    processes: list[Process]
    containers: list[Container]
    columns: dict[str, Column]
    sent: int = 0
    first_index: int = 0
    """Index of the first event within the original batch. It is above 0 only in the later parts of a batch that was
    too large to send whole; all parts share a sequence."""
    previous_start: int = 0
    previous_sequence: int = -1
    """In the first batch after a start: the last sequence of the previous start; -1 if unknown."""
    rules_version: str = ""
    interest_version: str = ""
    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    watched: list[str] = field(default_factory=list)
    """Event types that are collected without a filter. Sent, with narrowed, at the start, after a change and every
    15 s."""
    narrowed: list[str] = field(default_factory=list)
    """Event types that the pushdown filter restricts to events that could match a rule."""
    interest: bytes = b""
    """The pushdown filter as JSON, compressed by zlib; sent with narrowed."""
    os_name: str = ""
    """Name and version of the distribution: PRETTY_NAME of os-release(5)."""
    architecture: str = ""
    addresses: list[str] = field(default_factory=list)
    """IP addresses of the host, without those of loopback and link-local; at most 32."""
    stopping: bool = False
    """True if this is the last batch before an orderly stop of the collector."""
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Host names by address, if a rule names a host; set by the evaluating process, never sent."""
    appended: int = 0
    """When the batch arrived, by the receiver's clock (the broker's in a fleet), ns since the epoch; 0 if not recorded.
    Never sent, so a host can't choose it."""
    numbers: Sequence[int] = ()
    """evt.num of each event, if some were left out of a capture that is read; never sent."""
    is_established: bool = True
    """True if the host is an established one and not a newcomer; decided by the processor, never sent."""

    @property
    def total(self) -> int:
        """The number of events, including those that the `repeats` column counts."""
        return self.count + sum(self.columns["repeats"])


def empty_columns() -> dict[str, "array[int]"]:
    """Return empty, growable columns for a batch under construction; arg_start begins with its first 0."""
    columns = {name: array(code) for name, code in {**EVENT_COLUMNS, **ARGUMENT_COLUMNS}.items()}
    columns["arg_start"].append(0)
    return columns


def subset(
    batch: EventBatch,
    events: Sequence[int],
    *,
    rewrite: Callable[[str], str] = str,
    has_process: Callable[[int], bool] = lambda _row: True,
    cleaned: Callable[[Process], Process] = lambda process: process,
) -> EventBatch:
    """Return a batch with some of the events, and what they refer to.

    Args:
        batch: is not changed.
        events: their indexes.
        rewrite: changes each text of the events.
        has_process: returns whether the process in a row is stored; ancestries end where it isn't.
        cleaned: changes each process.
    """
    strings = _Strings(batch.strings, rewrite)
    rows = _Rows(batch.processes, has_process, cleaned)
    columns = empty_columns()
    starts = batch.columns["arg_start"]
    for event in events:
        for name in EVENT_COLUMNS:
            value = batch.columns[name][event]
            if name == "process":
                value = rows.take(value)
            elif name in STRING_COLUMNS:
                value = strings.take(value)
            columns[name].append(value)
        for argument in range(starts[event], starts[event + 1]):
            columns["arg_name"].append(strings.take(batch.columns["arg_name"][argument]))
            columns["arg_value"].append(strings.take(batch.columns["arg_value"][argument]))
            columns["arg_raw"].append(batch.columns["arg_raw"][argument])
        columns["arg_start"].append(len(columns["arg_name"]))
    return replace(batch, count=len(events), strings=strings.stored, processes=rows.stored, columns=dict(columns))


class _Strings:
    """The texts still referred to, each once."""

    def __init__(self, texts: Sequence[str | None], rewrite: Callable[[str], str]) -> None:
        self._texts, self._rewrite = texts, rewrite
        self._indexes: dict[str | None, int] = {None: 0}
        self.stored: list[str | None] = [None]

    def take(self, index: int) -> int:
        text = self._texts[index]
        if text is not None:
            text = self._rewrite(text)
        known_index = self._indexes.setdefault(text, len(self.stored))
        if known_index == len(self.stored):
            self.stored.append(text)
        return known_index


class _Rows:
    """The processes still referred to."""

    def __init__(
        self, rows: Sequence[Process], has: Callable[[int], bool], cleaned: Callable[[Process], Process]
    ) -> None:
        self._rows, self._has, self._cleaned = rows, has, cleaned
        self._indexes: dict[int, int] = {}
        self.stored: list[Process] = []

    def take(self, row: int) -> int:
        if row < 0 or not self._has(row):
            return -1
        known_index = self._indexes.get(row)
        if known_index is None:
            process = self._rows[row]
            # Rows referred to come first: a parent's row is smaller than its child's.
            links = {name: self.take(getattr(process, name)) for name in _LINKS if getattr(process, name) != row}
            known_index = self._indexes[row] = len(self.stored)
            links |= {name: known_index for name in _LINKS if getattr(process, name) == row}
            self.stored.append(
                replace(
                    self._cleaned(process),
                    parent=links["parent"],
                    session_leader=links["session_leader"],
                    group_leader=links["group_leader"],
                )
            )
        return known_index
