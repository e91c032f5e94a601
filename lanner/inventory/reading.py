"""Reads living processes and the databases of packages in their root directories, by the look-up server.

A process or a file system that doesn't respond costs only its own look-up, which is counted.
"""

import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collector.containers.lookup import KnownContainers
from collector.processes.container_names import Naming
from collector.procfs.installed_packages import InstalledPackage
from collector.procfs.loaded_files import LoadedFile
from collector.procfs.look_ups import LookUps
from lanner.inventory.loaded import HOST, ReadProcess, Root, RootKey, RootPackages, loaded_packages
from schemas.batch import Container

MAX_PROCESSES = 1 << 15
"""Processes that are remembered; more than that are left out."""
MAX_ROOTS = 256
MAX_PATHS = 1 << 14
"""Different files of a root directory that are looked up."""
SECONDS_FOR_ROOT = 30.0
"""Time to read the databases of a root directory; a large one of rpm takes a second."""
SECONDS_FOR_CONTAINERS = 3.0


@dataclass(slots=True)
class Unread:
    """What could not be read, by the number of times."""

    hidden: int = 0
    """Processes that this user may not read."""
    unresponsive: int = 0
    """Processes that did not respond in time."""
    cut: int = 0
    """Processes with more mappings than are read."""
    left_out: int = 0
    """Processes, roots and files beyond the limits."""
    roots: int = 0
    """Root directories whose databases could not be read in time."""

    @property
    def is_nothing(self) -> bool:
        """True if all was read."""
        return not (self.hidden or self.unresponsive or self.cut or self.left_out or self.roots)


@dataclass(slots=True)
class _ReadRoot:
    cgroup: str
    pid: int = 0
    """The process of it that was read last."""
    paths: dict[str, bool] = field(default_factory=dict)
    """Loaded files, and whether they were looked up."""
    packages: RootPackages | None = None
    """None until they are read."""


class Survey:
    """What living processes have loaded, over one or more passes.

    Args:
        proc: where procfs is mounted.
        host_root: the host's root directory.
        naming: recognizes containers by their cgroups.
    """

    def __init__(
        self, proc: Path = Path("/proc"), host_root: Path = Path("/proc/1/root"), naming: Naming | None = None
    ) -> None:
        self.passes = 0
        self.unread = Unread()
        self._proc, self._host_root = proc, host_root
        self._naming = naming or Naming()
        self._processes: dict[tuple[int, int], ReadProcess] = {}
        self._roots: dict[RootKey, _ReadRoot] = {}

    def read(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Read all living processes but this one, and the packages of files that were not seen before."""
        self.passes += 1
        hidden = unresponsive = cut = 0
        lookups = LookUps(self._proc, self._host_root)
        try:
            lookups.start()
            own = {os.getpid(), lookups.pid}
            pids = {int(name) for name in os.listdir(self._proc) if name.isdigit()}  # noqa: PTH208 - names only
            for pid in sorted(pids - own):
                if stop():
                    break
                found = lookups.loaded(pid)
                if found is None:
                    unresponsive += 1
                elif "is_hidden" in found:
                    hidden += 1
                elif found:
                    cut += found["is_cut"] or found["left_out"] > 0
                    self._take(pid, found)
        finally:
            lookups.close()
        unread = self.unread
        unread.hidden, unread.unresponsive = max(unread.hidden, hidden), max(unread.unresponsive, unresponsive)
        unread.cut = max(unread.cut, cut)
        for key, root in self._roots.items():
            if not stop():
                self._look_up(key, root)

    def result(self, containers: KnownContainers) -> list[Root]:
        """Return the packages that are loaded. containers: describes containers."""
        known = {key: root.packages for key, root in self._roots.items() if root.packages is not None}
        self.unread.roots = sum(root.packages is None for root in self._roots.values())
        return loaded_packages(self._processes.values(), known, self._described(containers))

    def only_mapped(self, root: Root, packages: Collection[InstalledPackage]) -> set[InstalledPackage]:
        """Return the packages of a root all of whose code must be mapped to run."""
        found = set(packages)
        names = [
            (each, (each.manager, f"{each.name}:{each.arch}" if each.manager == "dpkg" else each.name))
            for each in packages
        ]
        for key in root.keys:
            lookups = LookUps(self._proc, self._host_root, timeout=SECONDS_FOR_ROOT)
            try:
                answers = lookups.code(self._roots[key].pid if key != HOST else 0, [name for _, name in names])
            finally:
                lookups.close()
            if answers is None:
                return set()
            found &= {package for (package, _), is_only in zip(names, answers, strict=True) if is_only}
        return found

    def _take(self, pid: int, found: dict[str, Any]) -> None:
        key: RootKey = tuple(found["root"])
        root = self._roots.get(key)
        if root is None:
            if len(self._roots) >= MAX_ROOTS:
                self.unread.left_out += 1
                return
            root = self._roots[key] = _ReadRoot(found["cgroup"])
        root.pid = pid
        files = tuple(LoadedFile(path, is_deleted) for path, is_deleted in found["files"])
        known = self._processes.get((pid, found["start"]))
        if known is None and len(self._processes) >= MAX_PROCESSES:
            self.unread.left_out += 1
            return
        for file in files:
            if file.path in root.paths or len(root.paths) < MAX_PATHS:
                root.paths.setdefault(file.path, False)
            else:
                self.unread.left_out += 1
        earlier = () if known is None else known.files
        self._processes[pid, found["start"]] = ReadProcess(
            pid,
            found["name"],
            found["uid"],
            key,
            found["root_path"],
            tuple(dict.fromkeys((*earlier, *files))),
            tuple(found["listening"]),
        )

    def _look_up(self, key: RootKey, root: _ReadRoot) -> None:
        """Read the databases of a root directory, if files are loaded that were not looked up yet."""
        new = [path for path, is_known in root.paths.items() if not is_known]
        if not new:
            return
        lookups = LookUps(self._proc, self._host_root, timeout=SECONDS_FOR_ROOT)
        try:
            found = lookups.packages(root.pid if key != HOST else 0, new)
        finally:
            lookups.close()
        if found is None:
            return
        root.paths |= dict.fromkeys(new, True)
        owners = {path: (manager, name) for path, (manager, name) in found["owners"].items()}
        root.packages = RootPackages(
            tuple(InstalledPackage(**each) for each in found["installed"]),
            owners if root.packages is None else {**root.packages.owners, **owners},
            (found["distribution"][0], found["distribution"][1]),
        )

    def _described(self, known: KnownContainers) -> dict[RootKey, Container]:
        """Return what is known of the containers that the root directories belong to."""
        names = {key: self._naming.container_of(root.cgroup) for key, root in self._roots.items() if key != HOST}
        found = {key: name for key, name in names.items() if name is not None}
        until = time.monotonic() + SECONDS_FOR_CONTAINERS
        # The sum starts the queries of all of them.
        while sum(known.is_pending(name, time.monotonic_ns(), self._roots[key].pid) for key, name in found.items()):
            if time.monotonic() > until:
                break
            time.sleep(0.02)
            known.poll(time.monotonic_ns())
        return {key: known.facts(name) for key, name in found.items()}
