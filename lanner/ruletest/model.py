"""Test files as plain values: cases, their events, and the expected alerts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from collector.records.types import Syscall
from foundation.yaml.nodes import SourceLocation
from schemas.batch import ProgramFile

POD_UID = "7f0b3f6e-0000-4000-8000-000000000001"
HOSTNAME = "test-host"
"""The host of an event that names none."""


@dataclass(frozen=True, slots=True)
class PodSpec:
    """A pod as a test describes it."""

    name: str
    namespace: str = "default"
    uid: str = POD_UID
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """The id, as a runtime labels its containers."""
        return ("name", self.name), ("namespace", self.namespace), ("uid", self.uid)


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container as a test describes it; container fields are derived from it as from a runtime's answer."""

    id: str
    """64 hexadecimal digits."""
    type: str = "docker"
    name: str | None = None
    image: str | None = None
    digest: str | None = None
    privileged: bool = False
    user: str | None = None
    ip: str | None = None
    host_pid: bool = False
    host_network: bool = False
    host_ipc: bool = False
    mounts: tuple[tuple[str, str, bool], ...] = ()
    """Source, destination, whether it is writable."""
    truncated: bool = False
    """True if it has more than was read; unless the test states that it is privileged, that isn't known then."""
    labels: tuple[tuple[str, str], ...] = ()
    pod: PodSpec | None = None


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A process at its event, or as it became by an exec. Equal ones in a case are the same process."""

    name: str
    exe: str | None
    exepath: str | None
    codepath: str | None
    uid: int
    user: str | None
    gid: int
    group: str | None
    caps: int
    lower_layer: bool
    exe_ino: int
    container: ContainerSpec | None
    parent: "ProcessSpec | None"
    args: tuple[str, ...] = ()
    cwd: str = "/"
    env: tuple[str, ...] = ()
    pid: int | None = None
    vpid: int | None = None
    tty: int = 0
    loginuid: int = -1
    age: int = 1_000_000_000
    """Nanoseconds from its start to its first event in the case."""
    upper_layer: bool = False
    memfd: bool = False
    exe_uid: int = 0
    exe_mode: int = 0o100755
    exe_age: int = 86_400_000_000_000
    """Nanoseconds from the last change of the program's file to the start of the case."""
    origin: str | None = None
    package: str | None = None
    sha256: str | None = None
    written_by: str | None = None
    script: ProgramFile | None = None


@dataclass(frozen=True, slots=True)
class StatedEvent:
    """One event."""

    at: int
    """Nanoseconds since the start of the case."""
    type: str
    process: ProcessSpec
    call: Syscall | None
    """As the kernel side reports it, but for the process's identity; None for a successful exec."""
    filename: str = ""
    """The path passed to a successful exec."""
    hostname: str = HOSTNAME
    """The host that it is from; processes of different hosts are different, even if they are equal."""
    clock: int = 0
    """How far the clock of its host is ahead, ns; negative if it is behind. The event then arrives at `at`."""
    file: ProgramFile | None = None
    """What the file of code is that it opened or mapped."""


@dataclass(frozen=True, slots=True)
class StatedDocument:
    """One event that is JSON."""

    at: int
    """Nanoseconds since the start of the case; the time of the event, whatever its document states."""
    source: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Expected:
    """One expected alert."""

    rule: str
    location: SourceLocation = field(compare=False)
    priority: str | None = None
    output_fields: Mapping[str, str] = field(default_factory=dict)
    repeats: int | None = None
    """For the summary of a suppressed rule's repeats: the number of repeats."""


@dataclass(frozen=True, slots=True)
class Case:
    """Events, and exactly the alerts that they must raise."""

    name: str
    events: tuple[StatedEvent | StatedDocument, ...]
    recording: str | None
    """Path of the recording, if the events come from one."""
    expected: tuple[Expected, ...]
    about: tuple[str, ...]
    """The rules that it tests, if the expected alerts don't name them."""
    names: Mapping[str, tuple[str, ...]] = field(compare=False)
    """Addresses by host name, because tests don't resolve names."""
    location: SourceLocation = field(compare=False)
    source: str = ""
    """The source of the JSON in the recording; empty for Kubernetes audit events and batches, by the content."""


@dataclass(frozen=True, slots=True)
class Suite:
    """One test file."""

    file: str
    rules: tuple[str, ...]
    """Paths of the rule files, in evaluation order."""
    matching: str | None
    """rule_matching; None for the configured value."""
    cases: tuple[Case, ...]
