"""Finds and reads bundles: next to the container's shim, else where runtimes usually store them.

Only root may have made the folders: whoever can put a bundle there chooses what a container is taken for.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from collector.containers.bundles.facts import (
    completed,
    container_from,
    of_containerd,
    parsed_object,
    parsed_records,
    with_storage_record,
)
from collector.containers.bundles.shims import Shim, is_roots_shim, shim_at, shim_of
from collector.containers.decoding import MAX_AT_ONCE, MAX_BYTES, decoded
from collector.containers.identity.cgroups import processes
from collector.containers.identity.naming import ContainerName
from collector.containers.json_values import Json
from collector.processes.procfs.files_below import closing, open_made_by_root, read_below
from schemas.batch import Container

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

    def learn(self, pid: int) -> bool:
        """Learn where a runtime stores bundles, if this process is its shim; return whether it is containerd's."""
        shim = shim_at(pid, self._proc)
        if shim is not None:
            self._beside(shim, None)
        return shim is not None and shim.socket is not None

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
        TooLarge: it can't be decoded within limits.
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
