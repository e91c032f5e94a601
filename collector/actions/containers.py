"""Finds the processes of a container on this host, freezes its control group, and thaws it.

A pid is used again after its process has ended. A descriptor of /proc/PID isn't: from then on, nothing can be opened
through it. A control group is found by its name, which counts only if none but root of the host can have created it.
All that is read and written then goes through a descriptor of its folder.
"""

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from collector.actions.effect import ActionRefused, Effect, TargetGone, UndoFacts
from collector.processes.container_names import ContainerName, container_of
from collector.procfs.foreign_files import closing
from collector.procfs.parse import parse_cgroup, parse_stat
from collector.procfs.reading import read_up_to
from foundation.text import count_of, printable
from schemas.action import ActionIntent

MAX_PROC_FILE = 64 << 10
PROC = Path("/proc")
_SHORT_ID = 12

ContainerOf = Callable[[str], ContainerName | None]

ROOT = Path("/sys/fs/cgroup")
_SECONDS = 2.0
_NAP_SECONDS = 0.0005
_MAX_FILE = 64 << 10
_MAX_GROUPS = 20_000
_USERS = "/user.slice"
"""Where systemd delegates groups to users. Source: systemd's CGROUP_DELEGATION."""


@dataclass(frozen=True, slots=True)
class OpenProcess:
    """A process that was checked; what its methods raise means that it has ended."""

    pid: int
    folder: int
    """Descriptor of /proc/PID."""

    def read(self, name: str, limit: int = MAX_PROC_FILE) -> bytes:
        """Return the first bytes of one of its files in procfs. Raises OSError."""
        with closing(self.open(name)) as file:
            return read_up_to(file, limit)

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Open one of its files, namespaces or its root in procfs. Raises OSError."""
        return os.open(name, flags | os.O_CLOEXEC, dir_fd=self.folder)


def all_pids() -> Iterator[int]:
    """Return the ids of all processes."""
    return (int(name) for name in os.listdir(PROC) if name.isdigit())  # noqa: PTH208  a Path takes longer


@contextlib.contextmanager
def open_process(pid: int) -> Iterator[OpenProcess]:
    """Open a process until the end of the block. Raises OSError if there is none."""
    with closing(os.open(PROC / str(pid), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as folder:
        yield OpenProcess(pid, folder)


def container_processes(
    container_id: str, container_of: ContainerOf = container_of
) -> Generator[OpenProcess, None, None]:
    """Return the processes of a container, the oldest first; each is open until the next one is requested.

    Args:
        container_id: its full id, or the first 12 digits of it.
        container_of: returns the container that a cgroup's path names.

    Raises:
        TargetGone: it has no process.
        ActionRefused: two containers claim this id, and it is unknown which is meant.
    """
    found: dict[tuple[bool, str], list[tuple[int, int]]] = {}
    for pid in all_pids():
        with contextlib.suppress(OSError), open_process(pid) as process:
            container = container_of(parse_cgroup(process.read("cgroup")) or "")
            status = parse_stat(process.read("stat"))
            if container is not None and status is not None and _is_named(container, container_id):
                found.setdefault((container.is_certain, container.key), []).append((status.start_ticks, pid))
    # Root of a container can create a cgroup below its own that has another container's id.
    certain = [each for each in found if each[0]] or list(found)
    if not certain:
        raise TargetGone("the container has no process any more")
    if len(certain) > 1:
        raise ActionRefused("two containers claim this id: " + ", ".join(sorted(key for _, key in certain)))
    key = certain[0][1]
    for _, pid in sorted(found[certain[0]]):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError), open_process(pid) as process:
            container = container_of(parse_cgroup(process.read("cgroup")) or "")
            if container is not None and container.key == key:
                yield process


def _is_named(container: ContainerName, container_id: str) -> bool:
    return container_id == container.full_id or (len(container_id) == _SHORT_ID and container_id == container.id)


@dataclass(frozen=True, slots=True)
class _Version:
    """The files of one version of the freezer. Source: cgroup-v2.rst, and freezer-subsystem.rst of version 1."""

    control: str
    freeze: str
    thaw: str
    state: str
    """The file that reveals what has happened."""
    frozen: bytes
    """A line of it once all processes are frozen."""


_V1 = _Version("freezer.state", "FROZEN", "THAWED", "freezer.state", b"FROZEN")
_V2 = _Version("cgroup.freeze", "1", "0", "cgroup.events", b"frozen 1")


@dataclass(frozen=True, slots=True)
class _Group:
    """An open control group."""

    folder: int
    path: Path
    version: _Version

    def read(self, name: str) -> bytes:
        """Return the beginning of a file. Raises OSError."""
        with closing(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.folder)) as file:
            return read_up_to(file, _MAX_FILE)

    def write(self, text: str) -> None:
        """Freeze or thaw it. Raises OSError."""
        with closing(os.open(self.version.control, os.O_WRONLY | os.O_CLOEXEC, dir_fd=self.folder)) as file:
            os.write(file, text.encode())

    def is_requested(self) -> bool:
        """Return whether it was frozen, even if some processes aren't yet."""
        return self.read(self.version.control).strip() not in (b"0", b"THAWED")

    def is_frozen(self) -> bool:
        """Return whether all its processes are frozen."""
        return self.version.frozen in self.read(self.version.state).splitlines()

    def count(self) -> int:
        """Return the number of its processes, and of those in groups below it."""
        found = 0
        for at, (_, _, _, folder) in enumerate(os.fwalk(".", dir_fd=self.folder)):
            if at >= _MAX_GROUPS:
                break
            with suppress(OSError), closing(os.open("cgroup.procs", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)) as file:
                found += read_up_to(file, 1 << 20).count(b"\n")
        return found


class Freeze:
    """Freezes containers.

    Args:
        container_of: returns the container that a control group's path names.
        root: where control groups are mounted.
    """

    def __init__(self, container_of: ContainerOf = container_of, root: Path = ROOT) -> None:
        self._container_of, self._root = container_of, root

    def before(self, intent: ActionIntent) -> UndoFacts:
        """Return what undoes it, before it is done. Raises as HostAction.do."""
        group = self._find(intent)
        with closing(group.folder):
            if group.is_requested():
                raise ActionRefused("it is frozen already, by somebody else")
            return {"write": [str(group.path), group.version.control, group.version.thaw]}

    def do(self, intent: ActionIntent) -> Effect:
        """Freeze a container; see HostAction."""
        group = self._find(intent)
        with closing(group.folder):
            undo: UndoFacts = {"write": [str(group.path), group.version.control, group.version.thaw]}
            try:
                group.write(group.version.freeze)
                is_frozen = _wait(group, frozen=True)
                count = group.count()
            except OSError:
                with suppress(OSError):
                    group.write(group.version.thaw)
                raise
            text = f"froze {printable(intent.text)}: {count_of(count, 'process', 'processes')}"
            if not is_frozen:
                text += f"; after {_SECONDS:g} s, some of them still wait for a device or a file system"
            return Effect(text, undo)

    def extend(self, intent: ActionIntent, facts: UndoFacts, lease: int) -> None:  # noqa: ARG002  the protocol's
        """Freeze it again if it was thawed in the meantime; its end isn't the kernel's matter. Raises as do."""
        group = self._again(intent, facts)
        with closing(group.folder):
            group.write(group.version.freeze)

    def undo(self, intent: ActionIntent, facts: UndoFacts) -> str:
        """Thaw it; see HostAction."""
        group = self._again(intent, facts)
        with closing(group.folder):
            try:
                if not group.is_requested():
                    return "it was thawed already"
                group.write(group.version.thaw)
                _wait(group, frozen=False)
                return f"thawed {printable(intent.text)}"
            except (FileNotFoundError, OSError) as error:
                if not os.path.exists(group.path):  # noqa: PTH110
                    raise TargetGone("the container has ended") from error
                raise

    def _find(self, intent: ActionIntent) -> _Group:
        """Open the group of a container. Raises TargetGone, ActionRefused or OSError."""
        root, version = self._root / "freezer", _V1
        if not root.is_dir():
            root, version = self._root, _V2
        found: list[str] = []
        uncertain = ""
        for cgroup, container in self._named(root):
            if container.full_id == intent.container_id:
                if container.is_certain and not container.outer:
                    found.append(cgroup)
                else:
                    uncertain = cgroup
        if len(found) > 1:
            raise ActionRefused(f"two control groups claim this id: {', '.join(map(printable, sorted(found)))}")
        if not found and uncertain:
            raise ActionRefused(
                f"a user or a container may have created its control group {printable(uncertain)}, so that its id can "
                "be forged"
            )
        if not found:
            raise TargetGone("the container has ended")
        return _opened(root / found[0].removeprefix("/"), version)

    def _named(self, root: Path) -> Iterator[tuple[str, ContainerName]]:
        """Yield the control groups that are a container's, by their paths from the root.

        Those below containers and users come last, and only so many of them: anybody can create any number there.

        Raises:
            ActionRefused: there are too many groups of the host itself.
        """
        waiting, others = deque([""]), deque[str]()
        for _ in range(_MAX_GROUPS):
            if not waiting and not others:
                return
            above = waiting.popleft() if waiting else others.popleft()
            try:
                with os.scandir(f"{root}{above}") as entries:
                    below = [f"{above}/{each.name}" for each in entries if each.is_dir(follow_symlinks=False)]
            except OSError:
                continue
            for cgroup in below:
                container = self._container_of(cgroup)
                if container is not None and container.cgroup == cgroup:
                    yield cgroup, container
                is_others = container is not None or cgroup.startswith(_USERS)
                if not is_others:
                    waiting.append(cgroup)
                elif len(others) < _MAX_GROUPS:
                    others.append(cgroup)
        if waiting:
            raise ActionRefused(f"this host has more than {_MAX_GROUPS:,} control groups")

    def _again(self, intent: ActionIntent, facts: UndoFacts) -> _Group:
        """Open the group that was frozen. Raises TargetGone if the container ended."""
        what = facts.get("write")
        if not isinstance(what, list):
            return self._find(intent)
        version = _V1 if what[1] == _V1.control else _V2
        return _opened(Path(what[0]), version)


def _opened(path: Path, version: _Version) -> _Group:
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise TargetGone("the container has ended") from None
    return _Group(folder, path, version)


def _wait(group: _Group, *, frozen: bool) -> bool:
    """Wait until all processes are frozen, or none is; return whether that happened in time. Raises OSError."""
    deadline = time.monotonic() + _SECONDS
    while group.is_frozen() != frozen:
        if time.monotonic() > deadline:
            return False
        time.sleep(_NAP_SECONDS)
    return True
