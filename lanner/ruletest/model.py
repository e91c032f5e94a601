"""Test files as plain values: cases, what happened in each, and which alerts are expected."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from collector.records.types import File, Socket
from processor.loading import SourceLocation


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container as a test describes it; the facts of rules are derived from it as from a runtime's answer."""

    id: str
    """64 hexadecimal digits."""
    type: str = "docker"
    name: str | None = None
    image: str | None = None
    image_digest: str | None = None
    privileged: bool = False
    user: str | None = None
    ip: str | None = None
    host_pid: bool = False
    host_network: bool = False
    host_ipc: bool = False
    mounts: tuple[tuple[str, str, bool], ...] = ()
    """Source, destination, whether it may be written to."""
    labels: tuple[tuple[str, str], ...] = ()
    pod: tuple[tuple[str, str], ...] = ()
    """name, namespace and uid of the pod, where it has one."""
    pod_labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A process as it is at its event, or as it has become by an exec. Equal ones in a case are one process."""

    name: str
    exe: str | None
    exepath: str | None
    args: tuple[str, ...]
    cwd: str
    env: tuple[str, ...]
    pid: int | None
    vpid: int | None
    tty: int
    uid: int
    user: str | None
    gid: int
    group: str | None
    loginuid: int
    capabilities: int
    age: int
    """Nanoseconds from its start to its first event in the case."""
    upper_layer: bool
    lower_layer: bool
    memfd: bool
    exe_uid: int
    exe_mode: int
    exe_ino: int
    container: ContainerSpec | None
    parent: "ProcessSpec | None"


@dataclass(frozen=True, slots=True)
class CallSpec:
    """A system call in the words of the kernel side's records."""

    event: int
    """Position in syscalls.CALLS."""
    arguments: tuple[int, int, int, int, int, int]
    fd: int | None = None
    file: File | None = None
    socket: Socket | None = None
    path1: str | None = None
    path2: str | None = None
    directory1: str | None = None
    directory2: str | None = None
    blob1: bytes = b""
    blob2: bytes = b""
    is_io_uring: bool = False


@dataclass(frozen=True, slots=True)
class StatedEvent:
    """One thing that happened."""

    at: int
    """Nanoseconds since the case began."""
    type: str
    process: ProcessSpec
    result: int
    call: CallSpec | None
    """None for an exec that succeeded."""
    filename: str = ""
    """As given to an exec that succeeded."""


@dataclass(frozen=True, slots=True)
class Expected:
    """One alert that has to come."""

    rule: str
    priority: str | None
    fields: Mapping[str, str]
    repeats: int | None
    """Of the summary of a suppressed rule's repeats: how many it sums up."""
    place: SourceLocation = field(compare=False)


@dataclass(frozen=True, slots=True)
class Case:
    """Events, and the alerts that they must make: these and no others."""

    name: str
    events: tuple[StatedEvent, ...]
    recording: str | None
    """Its path, where the events come from a recording."""
    expected: tuple[Expected, ...]
    about: tuple[str, ...]
    """The rules that it is a test of, where that isn't said by what is expected."""
    names: Mapping[str, tuple[str, ...]] = field(compare=False)
    """Addresses by the host names that rules ask about: a test asks no name server."""
    place: SourceLocation = field(compare=False)


@dataclass(frozen=True, slots=True)
class Suite:
    """One test file."""

    file: str
    rules: tuple[str, ...]
    """Paths of the rule files, in the order in which they count."""
    matching: str | None
    """rule_matching; None for the settings' own."""
    cases: tuple[Case, ...]
