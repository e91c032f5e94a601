"""Finds and reads bundles: next to the container's shim, else where runtimes usually store them."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from collector.containers.bundles.facts import (
    container_from,
    of_containerd,
    parsed_object,
    parsed_records,
    with_storage_record,
)
from collector.containers.bundles.shims import Shim, shim_at, shim_of
from collector.containers.identity.cgroups import processes
from collector.containers.identity.naming import ContainerName
from collector.processes.procfs.files_below import read_below
from schemas.batch import Container

MAX_CONFIG = 1 << 20
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


@dataclass(frozen=True, slots=True)
class _Folder:
    """A directory that contains bundles, each in a directory named by the container's id."""

    path: str
    inner: str = ""
    """The bundle's path below the container's directory."""
    namespace: str | None = None
    socket: str | None = None


class Bundles:
    """The bundles on this host.

    Args:
        task_roots: directories of containerd's bundles, by namespace.
        storage_roots: directories of CRI-O's and Podman's bundles.
        proc: where procfs is mounted.
    """

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
        """Read a container's bundle; return None if it has none.

        Args:
            name: the container; if its id may be forged, one whose runtime can be believed all the same.
            pid: one of its processes, through which its shim is found.
        """
        if name.type == "docker" or not _SAFE_ID.match(name.full_id):
            return None
        for process in _candidates(name, pid):
            shim = shim_of(process, lambda path: _is_inside(name.cgroup, path), self._proc)
            if shim is not None:
                if (bundle := self._beside(shim, name)) is not None:
                    return bundle
                break
        # What is nested has its bundles inside the outer container, where only its shim leads.
        for folder in self._folders() if name.is_certain else ():
            with suppress(OSError), _directory(folder.path) as descriptor:
                bundle = _read(name, descriptor, folder)
                if bundle is not None:
                    return bundle
        return None

    def survey(self) -> None:
        """Learn where the runtimes that run now store bundles."""
        with suppress(OSError):
            for process in self._proc.iterdir():
                if process.name.isdigit():
                    self.learn(int(process.name))

    def learn(self, pid: int) -> bool:
        """Learn where a runtime stores bundles, if this process is its shim; return whether it is containerd's."""
        shim = shim_at(pid, self._proc)
        if shim is not None:
            self._beside(shim, None)
        return shim is not None and shim.socket is not None

    def _beside(self, shim: Shim, name: ContainerName | None) -> Bundle | None:
        with suppress(OSError):
            return self._in_namespace(shim, name) if shim.bundle is None else self._in_storage(shim, name)
        return None

    def _in_namespace(self, shim: Shim, name: ContainerName | None) -> Bundle | None:
        """Read a bundle beside that of the container for which containerd started the shim."""
        inner = f"{self._proc}/{shim.pid}/cwd"
        with _directory(inner) as own, _directory("..", own) as above:
            folder = _Folder(str(Path(inner).readlink().parent), "", shim.namespace, self._socket(shim))
            self._learn(folder, above)
            return None if name is None else _read(name, above, folder)

    def _in_storage(self, shim: Shim, name: ContainerName | None) -> Bundle | None:
        """Read the bundle that conmon names, and remember the folder, two levels up."""
        bundle = Path(shim.bundle or "")
        folder = _Folder(str(bundle.parent.parent), bundle.name)
        with (
            _directory(f"{self._proc}/{shim.pid}/root") as root,
            _directory(folder.path.lstrip("/") or ".", root) as at,
        ):
            self._learn(folder, at)
            return None if name is None else _read(name, at, folder)

    def _socket(self, shim: Shim) -> str | None:
        """Return the path of a shim's socket from here: a collector in a container sees it through the shim's root."""
        if shim.socket is None or Path(shim.socket).is_socket():
            return shim.socket
        return f"{self._proc}/{shim.pid}/root{shim.socket}"

    def _learn(self, folder: _Folder, descriptor: int) -> None:
        """Remember a folder if its path leads to it from here too, and not only from the shim's mount namespace."""
        try:
            here, there = Path(folder.path).stat(), os.fstat(descriptor)
        except OSError:
            return
        if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino) and len(self._learned) < MAX_FOLDERS:
            self._learned = {**self._learned, folder.path: folder}

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
    config = read_below(folder, f"{name.full_id}/{location.inner}/config.json", links=False, limit=MAX_CONFIG)
    parsed = None if config is None else parsed_object(config[0])
    if not parsed:
        return None
    facts = container_from(name, parsed)
    if location.namespace is not None:
        facts = of_containerd(facts)
    elif facts.name is None:
        facts = _with_record(facts, folder)
    return Bundle(facts, location.namespace, location.socket)


def _with_record(facts: Container, folder: int) -> Container:
    """Add what containers/storage notes beside the bundles; a container with --rm is noted in a file of its own."""
    for file in _RECORDS:
        records = read_below(folder, file, links=False, limit=MAX_RECORDS)
        for record in () if records is None else parsed_records(records[0]):
            if record.get("id") == facts.full_id:
                return with_storage_record(facts, record)
    return facts


@contextmanager
def _directory(path: str, below: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=below)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_inside(container: str, path: str) -> bool:
    return path == container or path.startswith(f"{container}/")
