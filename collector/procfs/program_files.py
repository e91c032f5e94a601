"""Finds out what the file of a program is: its digest, and where it comes from.

Runs in the look-up server: a disk, or a file system that another program serves, may not respond.
"""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

from collector.procfs.foreign_files import (
    OVERLAY,
    Attributes,
    cached_stat,
    closing,
    is_remote,
    mount_serving,
    open_below,
    open_made_by_root,
    read_below,
    upper_directory,
)
from collector.procfs.packages import DATABASES, ListedFile, Packages, are_changing, are_made_by_root, exist
from collector.procfs.parse import Mounted, parse_mountinfo
from collector.procfs.reading import read_file

MAX_SIZE = 256 << 20
"""Bytes of the largest file that is read; a larger one has no digest."""
_CHUNK = 1 << 20
_MAX_MOUNTINFO = 1 << 20
_MAX_DEPTH = 16
"""Directories above a file that may be root directories with packages of their own."""
_WITHOUT_PLACE = "/"
"""The path of a program in a detached mount: runtimes of containers run from one, so that no container changes them."""
_RUNTIMES = ("/usr/bin/crun", "/usr/bin/runc", "/usr/sbin/runc", "/usr/libexec/crio/crun", "/usr/libexec/crio/runc")
"""Where packages have them; the file there counts if it is the same."""
_FIRST, _LAST = -(2**63) + 1, 2**63 - 1

# Processes of a mount namespace have the same table, and it seldom changes.
_parsed = lru_cache(maxsize=4)(parse_mountinfo)
_SNAP = re.compile(r"(/(?:var/lib/snapd/)?snap/([^/]{1,100}))/([^/]{1,100})")
"""Where snapd mounts: name and revision."""
_SNAP_VERSION = re.compile(rb"^version: *['\"]?([^\s'\"]{1,200})", re.MULTILINE)
_FLATPAK = re.compile(r"/var/lib/flatpak/(?:app|runtime)/([^/]{1,255})/[^/]+/([^/]{1,200})/[0-9a-f]{64}/files/.+")
"""Where Flatpak deploys: name, architecture, branch and commit."""
_MAX_SNAP_YAML = 1 << 16


@dataclass(frozen=True, slots=True)
class ProgramQuery:
    """A query about the file of a program, as the kernel described it when the program started."""

    pids: tuple[int, ...]
    """The process, then others with the same root directory."""
    path: str
    device: int
    """As the kernel has it: 12 bits and 20 bits."""
    inode: int
    ctime: int
    """Nanoseconds since the epoch."""
    mtime: int
    is_lower_layer: bool
    is_upper_layer: bool
    is_contained: bool
    """True if the process is in a container that only root of the host can have made."""
    is_host: bool
    """True if the process is in no container."""
    is_from_memfd: bool
    is_running: bool
    """True if its start was not seen: the file may have been replaced since then."""
    is_script: bool = False
    """True if it is a script: its attributes are those that programs see, and its layer is unknown."""


def responder(proc: str, host_root: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the function that responds to queries, which are mappings with the members of ProgramQuery."""
    files = ProgramFiles(Path(proc), Path(host_root))
    return lambda request: files.look(ProgramQuery(**{**request, "pids": tuple(request["pids"])}))


class ProgramFiles:
    """Responds to queries about programs."""

    def __init__(self, proc: Path, host_root: Path) -> None:
        self._proc = str(proc)
        # Root may not always look at the first process.
        self._host_root = str(host_root) if os.access(host_root, os.X_OK) else "/"
        self._packages = Packages()

    def look(self, query: ProgramQuery) -> dict[str, Any]:
        """Return digest, origin and package, and what finding them took.

        The digest is missing if the file is gone, changed, too large, or on a file system that may not respond.
        """
        begin = time.process_time()
        mounts = _MountTables(self._proc, query.pids)
        if query.is_contained and (query.is_script or (query.is_running and self._has_its_path(query, mounts))):
            query = self._with_layer(query, mounts)
        answer: dict[str, Any] = {"origin": _by_kernel(query), "bytes": 0}
        for file in self._files(query, mounts):
            with closing(file):
                found = cached_stat(file)
                if _is_it(found, query) and _responds(found, query, mounts):
                    answer |= self._read(file, found, query, mounts)
                    break
        return answer | {"seconds": time.process_time() - begin}

    def _files(self, query: ProgramQuery, mounts: "_MountTables") -> Iterator[int]:
        """Yield the running program, or what its path is in the roots, as locations only.

        To look a path up may wait as well, and its owner may have made a link of it: none is followed.
        """
        if not query.is_script:
            with suppress(OSError):
                yield os.open(f"{self._proc}/{query.pids[0]}/exe", os.O_PATH | os.O_CLOEXEC)
        roots = [(f"{self._proc}/{pid}/root", mounts.of(str(pid))) for pid in query.pids]
        roots.append((self._host_root, mounts.host))
        for (root, table), path in product(roots, (query.path, *self._runtimes(query, mounts))):
            if mounts.are_local(path, table):
                with suppress(OSError), closing(os.open(root, os.O_PATH | os.O_CLOEXEC)) as location:
                    yield open_below(location, path, links=False)

    def _read(self, location: int, found: Attributes, query: ProgramQuery, mounts: "_MountTables") -> dict[str, Any]:
        listed, has_database, is_changing = None, False, False
        for root, path in [] if query.is_from_memfd else self._roots(found, query, mounts):
            with closing(root):
                listed = self._packages.find(root, path)
                has_database |= exist(root)
                is_changing |= are_changing(root)
            if listed is not None:
                break
        algorithms = {"sha256"} | ({listed.algorithm} if listed and listed.digest else set())
        # A file can be made that large at no cost, as a sparse one; that no package has its path is known even so.
        digests, size = _digests(location, algorithms) if found.size <= MAX_SIZE else ({}, 0)
        answer: dict[str, Any] = {"bytes": size}
        if cached_stat(location) != found:
            return answer
        if digests:
            answer["sha256"] = digests["sha256"]
        if query.is_from_memfd:
            return answer
        app = None if listed else self._app(found, query, mounts)
        if app is not None:
            # Nobody can have changed it since it was installed.
            return answer | _stated(app) | {"origin": "package"}
        origin = self._origin(listed, digests, query, has_database=has_database)
        if is_changing and origin in {"modified", "dropped"}:
            return answer | {"is_early": True}
        if listed is not None:
            answer |= _stated(listed)
        return answer | {"origin": origin}

    def _roots(self, found: Attributes, query: ProgramQuery, mounts: "_MountTables") -> Iterator[tuple[int, str]]:
        """Open the roots whose packages may have brought a file, each with the file's path below it.

        That is the host's, if the file is there by root's doing, and then a root directory that contains it, such as
        one for chroot. In a container, only files of its image count: whoever writes others can write the databases.
        """
        for path in (*self._host_paths(query), *self._runtimes(query, mounts)):
            if mounts.are_local(path, mounts.host) and _is_made_by_root(path, self._host_root, found):
                yield os.open(self._host_root, os.O_PATH | os.O_CLOEXEC), path
                parts = path.split("/")
                for number in range(min(len(parts) - 1, _MAX_DEPTH), 1, -1):
                    above = f"{self._host_root.rstrip('/')}{'/'.join(parts[:number])}"
                    places = ("/".join((*parts[:number], place)) for place in DATABASES)
                    if all(mounts.are_local(place, mounts.host) for place in places) and are_made_by_root(above):
                        yield os.open(above, os.O_PATH | os.O_CLOEXEC), "/".join(("", *parts[number:]))
                        break
                return
        if query.is_contained and query.is_lower_layer:
            for pid in reversed(query.pids):
                with suppress(OSError):
                    yield os.open(f"{self._proc}/{pid}/root", os.O_PATH | os.O_CLOEXEC), query.path
                    return

    def _runtimes(self, query: ProgramQuery, mounts: "_MountTables") -> list[str]:
        """Return where a program without a place may have one, without links to it, which no package states."""
        found = []
        for path in _RUNTIMES if query.path == _WITHOUT_PLACE else ():
            if mounts.are_local(path, mounts.host):
                with suppress(OSError), closing(os.open(self._host_root, os.O_PATH | os.O_CLOEXEC)) as root:
                    os.close(open_below(root, path, links=False))
                    found.append(path)
        return found

    def _host_paths(self, query: ProgramQuery) -> Iterator[str]:
        """Yield the paths that a file may have outside of its process's root: a script's is that after chroot."""
        yield query.path
        for pid in query.pids if query.is_script and query.is_host else ():
            with suppress(OSError):
                yield os.readlink(f"{self._proc}/{pid}/root").rstrip("/") + query.path  # noqa: PTH115

    def _has_its_path(self, query: ProgramQuery, mounts: "_MountTables") -> bool:
        """Return whether a running program is still what its path leads to: it may have been replaced, or deleted."""
        if not mounts.are_local(query.path, next(filter(None, mounts.all()), ())):
            return False
        for pid in query.pids:
            with (
                suppress(OSError),
                closing(os.open(f"{self._proc}/{pid}/root", os.O_PATH | os.O_CLOEXEC)) as root,
                closing(open_below(root, query.path, links=False)) as file,
            ):
                return _is_it(cached_stat(file), query)
        return False

    def _with_layer(self, query: ProgramQuery, mounts: "_MountTables") -> ProgramQuery:
        """Return a query about a container's file with its layer of the overlay, which only a program's start shows.

        A file is in the upper layer if it exists in that directory of the host.
        """
        own = mount_serving(query.path, next(filter(None, mounts.all()), ()))
        overlay = next((each for each in mounts.host if own is not None and each.device == own.device), None)
        if own is None or overlay is None or own.type != OVERLAY or not (upper := upper_directory(overlay)):
            return query
        inside = f"{own.root.rstrip('/')}{query.path[len(own.point.rstrip('/')) :]}"
        if not mounts.are_local(upper, mounts.host):
            return query
        try:
            with closing(os.open(self._host_root, os.O_PATH | os.O_CLOEXEC)) as root:
                os.close(open_below(root, f"{upper}{inside}", links=False))
        except FileNotFoundError:
            return replace(query, is_lower_layer=True)
        except OSError:
            return query
        return replace(query, is_upper_layer=True)

    def _app(self, found: Attributes, query: ProgramQuery, mounts: "_MountTables") -> ListedFile | None:
        own = next(filter(None, mounts.all()), ())
        return find_app(query.path, found, own, mounts.host, self._host_root)

    def _origin(
        self, listed: ListedFile | None, digests: dict[str, str], query: ProgramQuery, *, has_database: bool
    ) -> str:
        if listed is not None:
            if not listed.digest or not digests:
                return "unknown"
            return "package" if listed.has(digests[listed.algorithm]) else "modified"
        if not query.is_host:
            return _by_kernel(query)
        if not has_database:
            with closing(os.open(self._host_root, os.O_PATH | os.O_CLOEXEC)) as root:
                has_database = exist(root)
        return "dropped" if has_database else "unknown"


def _stated(listed: ListedFile) -> dict[str, str]:
    return {"package": listed.package, "package_version": listed.version, "package_type": listed.type}


def _is_made_by_root(path: str, root: str, found: Attributes) -> bool:
    """Return whether the file at a path is a certain one, and nobody but root can have put it there."""
    with suppress(OSError), closing(open_made_by_root(path, root)) as location:
        own = cached_stat(location)
        return (own.device, own.inode) == (found.device, found.inode)
    return False


class _MountTables:
    """The mounts of a query's processes and of the host; each table is read once, and only if it is needed."""

    def __init__(self, proc: str, pids: Sequence[int]) -> None:
        self._proc = proc
        self._pids = pids
        self._read: dict[str, Sequence[Mounted]] = {}

    def of(self, process: str) -> Sequence[Mounted]:
        """Return the mounts that a process has; none if it has ended, or has very many."""
        if process not in self._read:
            text = read_file(f"{self._proc}/{process}/mountinfo", _MAX_MOUNTINFO)
            self._read[process] = [] if text is None or len(text) == _MAX_MOUNTINFO else _parsed(text)
        return self._read[process]

    @property
    def host(self) -> Sequence[Mounted]:
        """The mounts of the host's first process."""
        return self.of("1") or self.of("self")

    def all(self) -> Iterator[Sequence[Mounted]]:
        """Yield the tables of the processes, then the host's."""
        yield from (self.of(str(pid)) for pid in self._pids)
        yield self.host

    def is_local(self, mount: Mounted) -> bool:
        """Return whether a file system is one that neither a program nor another machine serves."""
        return not is_remote(mount, self.host)

    def are_local(self, path: str, table: Sequence[Mounted]) -> bool:
        """Return whether all mounts of a table on the way to a path are, so that looking it up ends."""
        on_the_way = [each for each in table if path.startswith(f"{each.point.rstrip('/')}/")]
        return bool(on_the_way) and all(map(self.is_local, on_the_way))


def _responds(found: Attributes, query: ProgramQuery, mounts: _MountTables) -> bool:
    """Return whether a file is in memory, or on a file system that neither a program nor another machine serves."""
    if query.is_from_memfd:
        return True
    # The number of an overlay's device, or of one of Btrfs, is not always the one that its files show.
    own = f"{os.major(found.device)}:{os.minor(found.device)}"
    for device in (own, f"{query.device >> 20}:{query.device & 0xFFFFF}"):
        mount = next((each for table in mounts.all() for each in table if each.device == device), None)
        if mount is not None:
            return mounts.is_local(mount)
    mount = next(filter(None, (mount_serving(query.path, table) for table in mounts.all())), None)
    return query.is_running and mount is not None and mounts.is_local(mount)


def _by_kernel(query: ProgramQuery) -> str:
    """Return the origin as far as the kernel knows it without the file, which may be gone."""
    if query.is_from_memfd:
        return "memory"
    if query.is_contained and (query.is_lower_layer or query.is_upper_layer):
        return "image" if query.is_lower_layer else "dropped"
    return "unknown"


def _is_it(found: Attributes, query: ProgramQuery) -> bool:
    """Return whether a file is the one that started; inode numbers of overlays differ between kernel and programs."""
    times = tuple(max(_FIRST, min(each, _LAST)) for each in (found.ctime, found.mtime))
    is_overlaid = not query.is_script and (query.is_lower_layer or query.is_upper_layer)
    is_same = found.inode == query.inode or is_overlaid
    return found.is_regular and is_same and times == (query.ctime, query.mtime)


def _digests(location: int, algorithms: set[str]) -> tuple[dict[str, str], int]:
    """Return digests of a file by algorithm, and its size; none if it is longer than allowed."""
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}
    size = 0
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    with closing(os.open(f"/proc/self/fd/{location}", flags)) as file:
        while part := os.read(file, _CHUNK):
            size += len(part)
            if size > MAX_SIZE:
                return {}, size
            for each in hashes.values():
                each.update(part)
    return {name: each.hexdigest() for name, each in hashes.items()}, size


def find_app(
    path: str, found: Attributes, own: Sequence[Mounted], host: Sequence[Mounted], host_root: str
) -> ListedFile | None:
    """Return the snap or Flatpak package that a file belongs to, without a digest; None if it belongs to none.

    Args:
        path: the file's path, for the process that ran it.
        found: the file's attributes.
        own: the mounts of that process, which may have a root of its own.
        host: the host's mounts.
        host_root: the host's root directory.

    Source: snapd, dirs/dirs.go; flatpak(1), and common/flatpak-dir.c on the layout of an installation.
    """
    return _find_snap(found, host, host_root) or _find_flatpak(path, found, own, host, host_root)


def _find_snap(found: Attributes, host: Sequence[Mounted], host_root: str) -> ListedFile | None:
    device = f"{os.major(found.device)}:{os.minor(found.device)}"
    for mount in host:
        place = _SNAP.fullmatch(mount.point) if mount.type == "squashfs" and mount.device == device else None
        if place is None:
            continue
        flags = os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW
        with (
            suppress(OSError),
            closing(open_made_by_root(place[1], host_root)) as folder,
            closing(os.open(place[3], flags, dir_fd=folder)) as root,
        ):
            if cached_stat(root).device == found.device:
                read = read_below(root, "meta/snap.yaml", links=False, limit=_MAX_SNAP_YAML)
                version = read and _SNAP_VERSION.search(read[0])
                return ListedFile(
                    place[2], version[1].decode("utf-8", "replace") if version else place[3], "", "", "snap"
                )
    return None


def _find_flatpak(
    path: str, found: Attributes, own: Sequence[Mounted], host: Sequence[Mounted], host_root: str
) -> ListedFile | None:
    for outer in (path, *_outside(path, own, host)):
        place = _FLATPAK.fullmatch(outer)
        if place is not None:
            with suppress(OSError), closing(open_made_by_root(outer, host_root)) as file:
                same = cached_stat(file)
                if (same.device, same.inode) == (found.device, found.inode):
                    return ListedFile(place[1], place[2], "", "", "flatpak")
    return None


def _outside(path: str, own: Sequence[Mounted], host: Sequence[Mounted]) -> Iterator[str]:
    """Yield the paths on the host of a path in a sandbox, such as /app/bin/x, whose mounts show directories of it."""
    inside = mount_serving(path, own)
    if inside is None:
        return
    below = f"{inside.root.rstrip('/')}{path[len(inside.point.rstrip('/')) :]}"
    for mount in host:
        root = mount.root.rstrip("/")
        if mount.device == inside.device and below.startswith(f"{root}/"):
            yield f"{mount.point.rstrip('/')}{below[len(root) :]}"
