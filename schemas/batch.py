"""An event batch in memory, and the table rows that its events point to.

Collector and processor share these classes, so that in one process a batch passes between them as it is.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from schemas.columns import ARGUMENT_COLUMNS, EVENT_COLUMNS

Column = Sequence[int]


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount of a container, as the runtime tells it."""

    source: str
    dest: str
    mode: str
    rw: bool
    propagation: str


@dataclass(frozen=True, slots=True)
class Container:
    """What a container runtime says about one container; Kubernetes facts come from its labels."""

    id: str
    """The first 12 digits."""
    full_id: str
    type: str
    """docker, containerd, cri-o, podman ...; taken from the cgroup's name where the runtime wasn't asked."""
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
    mounts: tuple[Mount, ...] | None = None
    labels: tuple[tuple[str, str], ...] | None = None
    pod_name: str | None = None
    pod_uid: str | None = None
    pod_namespace: str | None = None
    pod_sandbox_id: str | None = None
    pod_labels: tuple[tuple[str, str], ...] | None = None


# Not frozen, though nobody may change one: a frozen one takes five times as long to make, and a batch has dozens.
@dataclass(slots=True, unsafe_hash=True)
class Process:
    """An immutable snapshot of a process as it was at its events.

    None means that the fact is not known; such a field is missing to every rule.
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
    """The first argument, as given."""
    exepath: str | None = None
    """The kernel's path of the executable."""
    args: tuple[str, ...] | None = None
    """All arguments but the first."""
    env: tuple[str, ...] | None = None
    cwd: str | None = None
    tty: int | None = None
    """Device number of the terminal; 0 for none."""
    loginuid: int | None = None
    """-1 where the audit session has no user."""
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
    """Nanoseconds since the epoch of the last exec; start_time where there was none."""
    pidns_init_start_time: int | None = None
    exec_generation: int = 0
    is_args_truncated: bool = False
    """Whether there are more arguments than `args` holds."""
    is_env_truncated: bool = False
    """Whether the program has more environment than was searched for the variables in `env`."""
    cgroup: str | None = None
    container: int = -1
    """Row in the batch's containers; -1 for the host."""
    parent: int = -1
    """Row of the parent, smaller than this one's; -1 where it isn't known."""
    session_leader: int = -1
    """Row of the session's leader, at most this row; -1 where it isn't known."""
    group_leader: int = -1
    """Row of the process group's leader, at most this row; -1 where it isn't known."""


@dataclass(slots=True)
class EventBatch:
    """What one host saw in a short time: a header, the tables, and one column for each fact of an event."""

    host_id: str
    hostname: str
    boot_id: str
    collector_start: int
    """Wall clock of the collector's start, ns: with boot_id and sequence it names a batch for ever."""
    sequence: int
    created: int
    """Wall clock, ns."""
    collector_version: str
    kernel: str
    first_number: int
    """evt.num of the first event; it goes up by one an event."""
    count: int
    strings: list[str | None]
    processes: list[Process]
    containers: list[Container]
    columns: dict[str, Column]
    sent: int = 0
    first_index: int = 0
    """Index of the first event among those of the batch as it was made; above 0 in a further part of one that was too
    large to be sent whole. The parts share a sequence."""
    previous_start: int = 0
    previous_sequence: int = -1
    """The last sequence of the start before, in the first batch of a new start, where known."""
    rules_version: str = ""
    interest_version: str = ""
    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    watched: list[str] = field(default_factory=list)
    """Event types of which everything is collected; told, with narrowed, at the start, at a change and every 15 s."""
    narrowed: list[str] = field(default_factory=list)
    """Event types of which only what could match a rule is collected."""
    interest: bytes = b""
    """What could match a rule: an interest as JSON, compressed by zlib; told with narrowed."""
    stopping: bool = False
    """The collector ends in good order; this is its last batch."""
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Host names by address, where a rule names a host: known to the one who judges, never sent."""
    appended: int = 0
    """When the batch arrived, by the clock of whoever took it (the broker's in a fleet), ns since the epoch; 0 where
    nobody noted it. Never sent: a host can't choose it."""
    is_established: bool = True
    """Whether the host counts as a known one and not as a newcomer; decided by the processor, never sent."""

    @property
    def total(self) -> int:
        """How many events it tells of: those in it, and the equal ones that some of them stand for."""
        return self.count + sum(self.columns["repeats"])


def empty_columns() -> dict[str, "array[int]"]:
    """Give growable columns for a batch to be built; arg_start begins with its first 0."""
    columns = {name: array(code) for name, code in {**EVENT_COLUMNS, **ARGUMENT_COLUMNS}.items()}
    columns["arg_start"].append(0)
    return columns
