"""Opens a file of the host or of a container by its path, which an attacker may change at any time.

Each part of the path is opened once, nothing leads out of the root folder, and no file system is asked that may never
respond.
"""

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from collector.actions.containers import PROC, ContainerOf, OpenProcess, container_processes, open_process
from collector.actions.effect import ActionRefused, TargetGone
from collector.procfs.foreign_files import (
    cached_stat,
    closing,
    is_remote,
    mount_serving,
    open_below,
    open_made_by_root,
    path_below,
)
from collector.procfs.parse import Mounted, parse_mountinfo
from collector.procfs.reading import read_file
from foundation.text import printable

_MAX_MOUNTINFO = 4 << 20
_ROOT = "/"
# Source: proc_pid_mountinfo(5).
_ESCAPES = str.maketrans({" ": r"\040", "\t": r"\011", "\n": r"\012", "\\": r"\134"})


@dataclass(frozen=True, slots=True)
class FileTree:
    """The files as the processes of the host, or of a container, see them."""

    root: int
    """Descriptor of the root folder."""
    mounts: Sequence[Mounted]
    host: Sequence[Mounted]
    """Mounts of the host."""


@dataclass(frozen=True, slots=True)
class TargetFile:
    """A file's folder, open, and its name there."""

    folder: int
    name: str
    path: str
    """Its path without links."""


@contextlib.contextmanager
def file_tree(container_id: str, container_of: ContainerOf) -> Iterator[FileTree]:
    """Open the root folder of the host, or that of the oldest process of a container.

    Args:
        container_id: empty for the host.
        container_of: returns the container that a cgroup's path names.

    Raises:
        TargetGone: the container has no process.
        ActionRefused: two containers claim this id.
    """
    with closing(_host_root()) as host:
        mounts = parse_mountinfo(read_file(f"{PROC}/1/mountinfo", _MAX_MOUNTINFO) or b"")
        mounts = mounts or parse_mountinfo(read_file(f"{PROC}/self/mountinfo", _MAX_MOUNTINFO) or b"")
        if not container_id:
            yield FileTree(host, mounts, mounts)
            return
        for process in container_processes(container_id, container_of):
            with contextlib.ExitStack() as stack:
                try:
                    root = stack.enter_context(closing(process.open("root", os.O_PATH | os.O_DIRECTORY)))
                    table = process.read("mountinfo", _MAX_MOUNTINFO)
                except (FileNotFoundError, ProcessLookupError):
                    continue
                # A runtime's helper that hasn't entered the container yet.
                if os.path.sameopenfile(root, host):
                    continue
                # A longer table may hide a mount.
                found = parse_mountinfo(table) if len(table) < _MAX_MOUNTINFO else [Mounted("/", "unknown")]
                yield FileTree(root, _with_root(root, found, mounts), mounts)
                return
    raise TargetGone("the container has no process with files of its own any more")


def _with_root(root: int, mounts: list[Mounted], host: Sequence[Mounted]) -> list[Mounted]:
    """Return a container's mounts with that of its root folder, which isn't listed if the root was only changed."""
    if any(mount.point == "/" for mount in mounts):
        return mounts
    number = cached_stat(root).device
    device = f"{os.major(number)}:{os.minor(number)}"
    below = next((each for each in host if each.device == device), Mounted("/", "unknown"))
    return [replace(below, point="/", root=""), *mounts]


def _host_root() -> int:
    """Open the root folder of the host's first process: this one's may be read-only, by its unit."""
    with contextlib.suppress(OSError), open_process(1) as first:
        return _root_of(first)
    return os.open(_ROOT, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _root_of(process: OpenProcess) -> int:
    return process.open("root", os.O_PATH | os.O_DIRECTORY)


@contextlib.contextmanager
def located(tree: FileTree, path: str, *, links: bool = True) -> Iterator[TargetFile]:
    """Open a file's folder; links on the way count only where nobody but root can have made them.

    Otherwise whoever can write to a folder could have any file of the host removed.
    """
    parent, _, name = path.rpartition("/")
    try:
        os.fsencode(path)
    except ValueError:
        name = ""
    if name in {"", ".", ".."} or not path.startswith("/"):
        raise ActionRefused(f"{printable(path)} is no path of a file")
    _check_responds(tree, path)
    try:
        folder = open_below(tree.root, parent or "/", links=False)
    except OSError as error:
        if error.errno != errno.ELOOP or not links:
            _raise_gone(error, path)
        try:
            folder = open_made_by_root(parent, f"/proc/self/fd/{tree.root}")
        except PermissionError:
            raise ActionRefused("its path leads through a link that others than root can change") from None
        except OSError as missing:
            _raise_gone(missing, path)
    with closing(folder):
        found = f"{path_below(tree.root, folder).rstrip('/')}/{name}"
        _check_responds(tree, found)
        yield TargetFile(folder, name, found)


def _raise_gone(error: OSError, path: str) -> None:
    if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
        raise TargetGone(f"{printable(path)} no longer exists") from None
    raise error


def _check_responds(tree: FileTree, path: str) -> None:
    """Raise ActionRefused if a path is on a file system that may never respond."""
    escaped = path.translate(_ESCAPES)
    for mount in tree.mounts:
        if escaped.startswith(mount.point.rstrip("/") + "/") and is_remote(mount, tree.host):
            raise ActionRefused(f"it may be on a file system that doesn't respond: {mount.type} at {mount.point}")


def mount_id(descriptor: int) -> bytes:
    """Return the id of the mount that an open file is on. Source: proc_pid_fdinfo(5)."""
    text = read_file(f"/proc/self/fdinfo/{descriptor}", 4096) or b""
    return text.partition(b"mnt_id:")[2].split(b"\n")[0].strip()


def path_of_host(path: str, tree: FileTree) -> str:
    """Return the host's path of a file that a container sees by a mount; empty if there is none."""
    inside = mount_serving(path.translate(_ESCAPES), tree.mounts)
    if inside is None or not inside.root:
        return ""
    below = inside.root.rstrip("/") + path[len(inside.point.rstrip("/")) :]
    for mount in tree.host:
        start = mount.root.rstrip("/")
        if mount.device == inside.device and below.startswith(f"{start}/"):
            return mount.point.rstrip("/") + below[len(start) :]
    return ""
