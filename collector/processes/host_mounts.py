"""Finds the paths that the files of a process have outside of its root directory (chroot).

Such a process calls /usr/bin/x what is /srv/base/usr/bin/x to everybody else. Its events have the latter, as all paths
of the kernel do. A root that shows the host's system files, by itself or by a mount below it, hides nothing.
"""

import os
import re
import select
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from collector.procfs.parse import Mounted, parse_mountinfo
from collector.procfs.reading import read_up_to

_MAX_MOUNTINFO = 4 << 20
_MAX_KNOWN = 1024
_PSEUDO = frozenset(
    (
        *("proc", "sysfs", "devtmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "securityfs", "debugfs", "tracefs"),
        *("bpf", "pstore", "configfs", "efivarfs", "fusectl", "binfmt_misc", "hugetlbfs"),
    )
)
_ON_DISKS = frozenset(
    (
        *("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "zfs", "jfs", "reiserfs", "nilfs2", "erofs"),
        *("squashfs", "iso9660", "udf", "vfat", "exfat", "ntfs3", "tmpfs", "ramfs"),
    )
)
"""Others, such as overlay, FUSE and NFS, may show a directory of the host under another device's number."""
_HARMLESS = ("/dev", "/run", "/tmp", "/var/tmp", "/var/cache", "/srv", "/mnt", "/media")  # noqa: S108 - compared only
"""Directories of the host without system files: what builders share with a root of theirs."""
_ESCAPED = re.compile(r"\\([0-7]{3})")


def shown_below(root: str, mounts: Sequence[Mounted]) -> tuple[str, ...] | None:
    """Return the mount points below a root directory that show something of the host.

    Args:
        root: the root directory of a process.
        mounts: those of its mount namespace.

    Returns:
        Where /proc, /dev and directories without system files are mounted. None if the root is the host's, mounted once
        more, or if a mount shows directories of the host that may hold system files: then the paths that the process
        uses are the better names.
    """
    above = (each for each in reversed(mounts) if _is_below(root, each.point))
    serving = max(above, key=lambda each: len(each.point), default=None)
    if serving is None:
        return None
    inside = _moved(root, serving.point, serving.root)
    if "/" in _paths(inside, serving.device, mounts):
        return None
    shown = []
    for each in mounts:
        if not _is_below(each.point, root):
            continue
        if each.type not in _PSEUDO | _ON_DISKS:
            return None
        if each is serving:
            continue
        if each.device == serving.device and _is_below(each.root, inside):
            continue
        others = _others(each, root, mounts)
        if each.type not in _PSEUDO and not all(any(_is_below(path, top) for top in _HARMLESS) for path in others):
            return None
        if others or each.type in _PSEUDO:
            shown.append(each.point)
    return tuple(shown)


def _others(shown: Mounted, root: str, mounts: Sequence[Mounted]) -> list[str]:
    """Return the paths of a mounted directory that aren't below a root."""
    return [path for path in _paths(shown.root, shown.device, mounts) if not _is_below(path, root)]


def _paths(inside: str, device: str, mounts: Sequence[Mounted]) -> list[str]:
    """Return all paths of a directory, by its path in its file system."""
    return [
        _moved(inside, each.root, each.point)
        for each in mounts
        if each.device == device and _is_below(inside, each.root)
    ]


def _is_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory if directory.endswith("/") else f"{directory}/")


def _moved(path: str, above: str, to: str) -> str:
    return f"{to.rstrip('/')}/{path[len(above) :].lstrip('/')}".rstrip("/") or "/"


class HostMounts:
    """The mounts of the host's mount namespace, by which paths outside of other root directories are found.

    Root may not always look at the first process; then this one's count as the host's.
    """

    def __init__(self, processes: Sequence[str] = ("/proc/1", "/proc/self")) -> None:
        """Watch the mounts of the first of these processes at which this one may look, if any."""
        self.namespace = 0
        """The inode number of the mount namespace; 0 if unknown."""
        self._file = -1
        self._mounts: list[Mounted] | None = None
        self._known: dict[str, tuple[str, ...] | None] = {}
        self._changes = select.poll()
        for process in processes:
            with suppress(OSError):
                namespace = Path(f"{process}/ns/mnt").stat().st_ino
                self._file = os.open(f"{process}/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
                self._changes.register(self._file, select.POLLPRI)
                self.namespace = namespace
                break
        self._since = _now()
        """The mounts haven't changed since then. Boot clock, ns."""

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def check(self) -> None:
        """Notice that mounts changed; has to be called before the events since the last call are evaluated."""
        if self._file >= 0 and self._changes.poll(0):
            self._since, self._mounts = _now(), None
            self._known.clear()

    def outer(self, root: str, path: str, at: int) -> str:
        """Return the path that an absolute path of a process has outside of its root directory, or the path itself.

        Whoever mounts, acts and unmounts hides nothing: paths used before the last change stay as they are.

        Args:
            root: the process's root directory.
            path: absolute and clean.
            at: when the process used it. Boot clock, ns.
        """
        if self._file < 0:
            return path
        if self._mounts is None:
            self._mounts = self._read()
            self.check()
        if at < self._since or self._mounts is None:
            return path
        if root not in self._known:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[root] = shown_below(root, self._mounts)
        shown, found = self._known[root], root + path
        return path if shown is None or any(_is_below(found, point) for point in shown) else found

    def _read(self) -> list[Mounted]:
        with suppress(OSError):
            os.lseek(self._file, 0, os.SEEK_SET)
            text = read_up_to(self._file, _MAX_MOUNTINFO + 1)
            if len(text) <= _MAX_MOUNTINFO:
                return [
                    Mounted(_unescaped(each.point), each.type, each.device, each.options, _unescaped(each.root))
                    for each in parse_mountinfo(text)
                ]
        return []


def _unescaped(path: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), path)


def _now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
