"""Finds and reads bundles: next to the container's shim, else where runtimes usually store them.

Only root may have made the folders: whoever can put a bundle there chooses what a container is taken for.
"""

import os
import re
import stat as modes
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from collector.containers.bundle_facts import (
    completed,
    container_from,
    of_containerd,
    parsed_object,
    parsed_records,
    with_storage_record,
)
from collector.containers.values import MAX_AT_ONCE, MAX_BYTES, Json, decoded
from collector.processes.container_names import ContainerName, container_of, host_mount_namespaces, processes
from collector.procfs.foreign_files import cached_stat, closing, open_made_by_root, read_below
from collector.procfs.parse import parse_cgroup, parse_cmdline, parse_stat, parse_status
from collector.procfs.reading import read_file
from schemas.batch import Container

MAX_STEPS = 16
"""Ancestors looked at; a shim starts a container's first process by way of runc, and an exec's likewise."""
MAX_STATUS = 1 << 14
DELETED = " (deleted)"
"""Follows the path of a file that was removed, such as that of a program after an upgrade."""

_SHIM = "containerd-shim"
_CONMON = "conmon"


@dataclass(frozen=True, slots=True)
class Shim:
    """The facts in the command line of a runtime's shim."""

    pid: int
    namespace: str | None = None
    """containerd's namespace; None for conmon."""
    socket: str | None = None
    """containerd's socket; None for conmon, which knows none."""
    bundle: str | None = None
    """The bundle's directory; None for containerd's shim, whose working directory is that of its first container."""


def parse_shim(pid: int, comm: str, arguments: Sequence[str]) -> Shim | None:
    """Return what a process reveals as a shim; None if it isn't one. comm: its name in the kernel, at most 15 bytes.

    Source: the flags of containerd's runtime/v2/shim and of conmon.
    """
    if comm.startswith(_SHIM):
        namespace, socket = (_value_after(arguments, f"-{flag}") for flag in ("namespace", "address"))
        return None if namespace is None else Shim(pid, namespace, socket)
    if comm == _CONMON:
        bundle = _value_after(arguments, "-b") or _value_after(arguments, "--bundle")
        return None if bundle is None else Shim(pid, bundle=bundle)
    return None


def shim_of(pid: int, name: ContainerName, proc: Path = Path("/proc")) -> Shim | None:
    """Return the shim that a container's process descends from; None if there is none, or the process has exited.

    Anybody can take a shim's name and arguments. Only root's own processes are believed that run outside the container:
    on the host itself or, if the container is nested, in the outermost one.
    """
    for _ in range(MAX_STEPS):
        stat = parse_stat(read_file(f"{proc}/{pid}/stat", MAX_STATUS) or b"")
        if stat is None:
            return None
        if is_shim(stat.comm) and _is_beside(pid, name, proc) and (shim := _shim(pid, stat.comm, proc)) is not None:
            return shim
        pid = stat.ppid
        if pid <= 1:
            return None
    return None


def shim_at(pid: int, proc: Path = Path("/proc")) -> Shim | None:
    """Return what a shim of the host itself reveals; None for another process. One in a container may be anybody's."""
    stat = parse_stat(read_file(f"{proc}/{pid}/stat", MAX_STATUS) or b"")
    if stat is None or not is_shim(stat.comm) or not _is_on_host(pid, proc):
        return None
    return _shim(pid, stat.comm, proc)


def is_shim(name: str) -> bool:
    """Return whether a process or a program has a shim's name."""
    return name.startswith(_SHIM) or name == _CONMON


def is_roots_program(uid: int, mode: int) -> bool:
    """Return whether only root can have written a program's file, and it gives nobody who runs it other rights."""
    return uid == 0 and not mode & (modes.S_ISUID | modes.S_ISGID | modes.S_IWGRP | modes.S_IWOTH)


def is_roots_shim(process: str) -> bool:
    """Return whether a process is root's own, and runs a shim's program that only root can have written.

    A setuid program also has root's effective id, and a name and arguments that any user chose. A user's namespace
    gives root's id inside of it, but not here. The process is given by its directory in procfs.
    """
    status = parse_status(read_file(f"{process}/status", MAX_STATUS) or b"")
    if status is None or status.uids != {0}:
        return False
    with suppress(OSError):
        program, file = Path(f"{process}/exe").readlink().name, cached_stat(f"{process}/exe")
        return file.is_regular and is_roots_program(file.uid, file.mode) and is_shim(program.removesuffix(DELETED))
    return False


def _shim(pid: int, comm: str, proc: Path) -> Shim | None:
    """Return what a process reveals whose place is a shim's.

    Its arguments are read last: another user's process could delay the reader of its memory.
    """
    if not is_roots_shim(f"{proc}/{pid}"):
        return None
    return parse_shim(pid, comm, parse_cmdline(read_file(f"{proc}/{pid}/cmdline", MAX_STATUS) or b""))


def _is_beside(pid: int, name: ContainerName, proc: Path) -> bool:
    """Return whether a process runs where the runtime of a container does."""
    cgroup = _cgroup(pid, proc)
    if _is_inside(name.cgroup, cgroup):
        return False
    return _is_inside(name.outer, cgroup) if name.outer else _is_on_host(pid, proc)


def _is_on_host(pid: int, proc: Path) -> bool:
    with suppress(OSError):
        namespace = Path(f"{proc}/{pid}/ns/mnt").stat().st_ino
        return namespace in host_mount_namespaces(proc) and container_of(_cgroup(pid, proc)) is None
    return False


def _is_inside(container: str, path: str) -> bool:
    """Return whether a cgroup's path is a container's or below it."""
    return path == container or path.startswith(f"{container}/")


def _cgroup(pid: int, proc: Path) -> str:
    return parse_cgroup(read_file(f"{proc}/{pid}/cgroup", MAX_STATUS) or b"") or ""


def _value_after(arguments: Sequence[str], flag: str) -> str | None:
    return next((value for key, value in pairwise(arguments) if key == flag), None)


MAX_RECORDS = 8 << 20
MAX_FOLDERS = 64
MAX_NAMESPACES = 64

_TASKS = "io.containerd.runtime.v2.task"
TASK_ROOTS = tuple(
    Path(state, _TASKS)
    for state in (
        *("/run/containerd", "/run/k3s/containerd", "/run/k0s/containerd"),
        *("/var/snap/microk8s/common/run/containerd", "/run/docker/containerd/daemon"),
    )
)
"""Where containerd stores bundles, by namespace, if no shim reveals another place."""
STORAGE_ROOTS = (
    Path("/run/containers/storage/overlay-containers"),
    Path("/var/lib/containers/storage/overlay-containers"),
)
"""Where CRI-O and Podman store bundles."""

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")
_RECORDS = ("volatile-containers.json", "containers.json")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A container's facts from its bundle, and where its runtime can be queried for more."""

    facts: Container
    namespace: str | None = None
    """containerd's namespace; None for CRI-O and Podman."""
    socket: str | None = None
    """The runtime's socket, if the shim reveals it."""
    config: bytes | None = None
    """A config.json that is still to be decoded, because that takes longer; the facts lack what it has."""


@dataclass(frozen=True, slots=True)
class _Folder:
    """A directory that contains bundles, each in a directory named by the container's id."""

    path: str
    inner: str = ""
    """The bundle's path below the container's directory."""
    namespace: str | None = None
    socket: str | None = None


class Bundles:
    """The bundles on this host, in folders of containerd by namespace, and in those of CRI-O and Podman."""

    def __init__(
        self,
        task_roots: Sequence[Path] = TASK_ROOTS,
        storage_roots: Sequence[Path] = STORAGE_ROOTS,
        proc: Path = Path("/proc"),
    ) -> None:
        self._task_roots = task_roots
        self._storage_roots = storage_roots
        self._proc = proc
        self._learned: dict[str, _Folder] = {}
        """Folders that shims revealed, for containers that exit before their shim can be found. Worker threads replace
        it as a whole."""

    def find(self, name: ContainerName, pid: int | None) -> Bundle | None:
        """Read a container's bundle; return None if it has none. pid: a process through which its shim is found.

        A container whose id may be forged must be one whose runtime can be believed all the same.
        """
        if not _SAFE_ID.match(name.full_id):
            return None
        for process in _candidates(name, pid):
            shim = shim_of(process, name, self._proc)
            if shim is not None:
                if (bundle := self._beside(shim, name)) is not None:
                    return bundle
                break
        # What is nested has its bundles inside the outer container, where only its shim leads.
        for folder in self._folders() if name.is_certain else ():
            with suppress(OSError), closing(open_made_by_root(folder.path)) as descriptor:
                if (bundle := _read(name, descriptor, folder)) is not None:
                    return bundle
        return None

    def survey(self) -> None:
        """Learn where the runtimes that run now store bundles."""
        with suppress(OSError):
            for process in self._proc.iterdir():
                if process.name.isdigit():
                    self.learn(int(process.name))

    def learn(self, pid: int) -> str | None:
        """Learn where a runtime stores bundles, if this process is its shim.

        Return containerd's namespace; None if it is no shim of containerd.
        """
        shim = shim_at(pid, self._proc)
        if shim is not None:
            self._beside(shim, None)
        return None if shim is None or shim.socket is None else shim.namespace

    def _beside(self, shim: Shim, name: ContainerName | None) -> Bundle | None:
        """Read a bundle in the folder that a shim reveals, and remember the folder."""
        with suppress(OSError), closing(os.open(f"{self._proc}/{shim.pid}", os.O_PATH | os.O_CLOEXEC)) as process:
            # Checked again through the descriptor, because another process may have got the id by now.
            there = f"{self._proc}/self/fd/{process}"
            if is_roots_shim(there):
                is_nested = name is not None and bool(name.outer)
                folder = self._folder(shim, there, is_nested=is_nested)
                with closing(open_made_by_root(folder.path, f"{there}/root")) as descriptor:
                    if not is_nested:
                        self._learn(folder, descriptor)
                    return None if name is None else _read(name, descriptor, folder)
        return None

    def _folder(self, shim: Shim, there: str, *, is_nested: bool) -> _Folder:
        """Return where a shim's runtime stores bundles: above that of the shim's first container, or of conmon's."""
        if shim.bundle is not None:
            bundle = Path(shim.bundle)
            return _Folder(str(bundle.parent.parent), bundle.name)
        folder = Path(f"{there}/cwd").readlink().parent
        # A collector in a container may see the host's sockets only through the root of the first process.
        socket, root = shim.socket, f"{self._proc}/{shim.pid if is_nested else 1}/root"
        if socket is not None and (is_nested or not Path(socket).is_socket()):
            socket = f"{root}{socket}"
        return _Folder(str(folder), "", shim.namespace, socket)

    def _learn(self, folder: _Folder, descriptor: int) -> None:
        """Remember a folder if its path leads to it from here too, and not only from the shim's mount namespace."""
        with suppress(OSError), closing(open_made_by_root(folder.path)) as own:
            if os.path.sameopenfile(own, descriptor):
                newest = [each for each in self._learned.items() if each[0] != folder.path][1 - MAX_FOLDERS :]
                self._learned = {**dict(newest), folder.path: folder}

    def _folders(self) -> Iterator[_Folder]:
        yield from self._learned.values()
        for root in self._task_roots:
            try:
                folders = sorted(root.iterdir())[:MAX_NAMESPACES]
            except OSError:
                continue
            for folder in folders:
                yield _Folder(str(folder), "", folder.name)
        for root in self._storage_roots:
            yield _Folder(str(root), "userdata")


def _candidates(name: ContainerName, pid: int | None) -> Iterator[int]:
    """Yield processes of a container through which its shim may be found; the first may have exited."""
    if pid is not None:
        yield pid
    if name.cgroup:
        yield from processes(name.cgroup)


def _read(name: ContainerName, folder: int, location: _Folder) -> Bundle | None:
    """Read a bundle below a folder; no link is followed, and nothing but a regular file is opened."""
    path = f"{name.full_id}/{location.inner}/config.json"
    config = read_below(folder, path, links=False, limit=MAX_BYTES, of_root=True)
    if config is None:
        return None
    text, file = config
    is_large = file.size > MAX_AT_ONCE
    parsed: Json = {} if is_large else parsed_object(text)
    if not (parsed or is_large):
        return None
    facts = container_from(name, parsed)
    if is_large:
        facts = replace(facts, is_truncated=True)
    if location.namespace is not None:
        facts = of_containerd(facts, location.namespace)
    elif facts.name is None:
        facts = _with_record(facts, folder)
    rest = text if is_large and file.size <= MAX_BYTES else None
    return Bundle(facts, location.namespace, location.socket, rest)


def with_config(bundle: Bundle, name: ContainerName) -> Bundle:
    """Return a bundle with the facts of a config.json that takes longer to decode.

    Raises:
        ResponseTooLarge: it can't be decoded within limits.
        ValueError: it is not JSON.
    """
    config = decoded(bundle.config or b"{}")
    facts = container_from(name, config if isinstance(config, dict) else {})
    if bundle.namespace is not None:
        facts = of_containerd(facts, bundle.namespace)
    return replace(bundle, facts=completed(facts, bundle.facts), config=None)


def _with_record(facts: Container, folder: int) -> Container:
    """Add what containers/storage notes beside the bundles; a container with --rm is noted in a file of its own."""
    for file in _RECORDS:
        records = read_below(folder, file, links=False, limit=MAX_RECORDS)
        for record in () if records is None else parsed_records(records[0]):
            if record.get("id") == facts.full_id:
                return with_storage_record(facts, record)
    return facts
