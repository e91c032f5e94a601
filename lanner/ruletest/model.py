"""Test files as plain values: cases, their events, and the expected alerts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from collector.records.types import File, Socket
from processor.loading import SourceLocation


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container as a test describes it; container fields are derived from it as from a runtime's answer."""

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
    """Source, destination, whether it is writable."""
    labels: tuple[tuple[str, str], ...] = ()
    pod: tuple[tuple[str, str], ...] = ()
    """Name, namespace and uid of the pod, if any."""
    pod_labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A process at its event, or as it became by an exec. Equal ones in a case are the same process."""

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
    """A system call, in terms of the kernel side's records."""

    event: int
    """Index in syscalls.CALLS."""
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
    """One event."""

    at: int
    """Nanoseconds since the start of the case."""
    type: str
    process: ProcessSpec
    result: int
    call: CallSpec | None
    """None for a successful exec."""
    filename: str = ""
    """The path passed to a successful exec."""


@dataclass(frozen=True, slots=True)
class Expected:
    """One expected alert."""

    rule: str
    priority: str | None
    fields: Mapping[str, str]
    repeats: int | None
    """For the summary of a suppressed rule's repeats: the number of repeats."""
    place: SourceLocation = field(compare=False)


@dataclass(frozen=True, slots=True)
class Case:
    """Events, and exactly the alerts that they must raise."""

    name: str
    events: tuple[StatedEvent, ...]
    recording: str | None
    """Path of the recording, if the events come from one."""
    expected: tuple[Expected, ...]
    about: tuple[str, ...]
    """The rules that it tests, if the expected alerts don't name them."""
    names: Mapping[str, tuple[str, ...]] = field(compare=False)
    """Addresses by host name, because tests don't resolve names."""
    place: SourceLocation = field(compare=False)


@dataclass(frozen=True, slots=True)
class Suite:
    """One test file."""

    file: str
    rules: tuple[str, ...]
    """Paths of the rule files, in evaluation order."""
    matching: str | None
    """rule_matching; None for the configured value."""
    cases: tuple[Case, ...]
