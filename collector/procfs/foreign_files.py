"""Reads files below a root directory that someone else controls, and opens paths that only root can have made.

The container decides what its /etc/passwd is: a link out of its root, a FIFO that never returns, a device, an endless
file. None of these may reach the host's files or block the reader.
"""

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from collector.procfs.parse import Mounted
from collector.procfs.reading import read_up_to

_LOCAL = frozenset(
    (
        *("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "zfs", "jfs", "reiserfs", "nilfs2", "erofs"),
        *("squashfs", "iso9660", "udf", "vfat", "exfat", "ntfs3", "tmpfs", "ramfs", "rootfs", "devtmpfs", "hugetlbfs"),
        *("proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "cpuset", "securityfs", "selinuxfs", "debugfs"),
        *("tracefs", "bpf", "pstore", "configfs", "efivarfs", "fusectl", "binfmt_misc", "nsfs", "rpc_pipefs", "nfsd"),
    )
)
OVERLAY = "overlay"
_LAYERS = ("lowerdir", "lowerdir+", "datadir+", "upperdir")
_MAX_OVERLAYS = 8
"""Maximum depth of nested overlays; the kernel allows two."""


def is_remote(mount: Mounted, host: Sequence[Mounted]) -> bool:
    """Return whether a file system may wait for another program or machine.

    An overlay depends on its layers. They are known only if it is mounted in the host's own namespace too: there only
    root can mount, and the layers' paths are the host's.
    """
    return _is_remote(mount, host, _MAX_OVERLAYS)


def _is_remote(mount: Mounted, host: Sequence[Mounted], depth: int) -> bool:
    if mount.type != OVERLAY:
        return mount.type not in _LOCAL
    own = next((each for each in host if each.type == OVERLAY and each.device == mount.device), None)
    if own is None or depth == 0:
        return True
    for layer in _layers(own.options):
        below = mount_serving(layer if layer.startswith("/") else own.point.rpartition("/")[0] or "/", host, own)
        if below is not None and below.device != own.device and _is_remote(below, host, depth - 1):
            return True
    return False


def _layers(options: str) -> list[str]:
    found: list[str] = []
    for option in options.split(","):
        key, _, value = option.partition("=")
        if key in _LAYERS:
            found += [path for path in value.split(":") if path]
    return found


def upper_directory(overlay: Mounted) -> str | None:
    """Return the path of an overlay's writable layer on the host; None if it has none."""
    found = (option.removeprefix("upperdir=") for option in overlay.options.split(",") if option[:9] == "upperdir=")
    return next((path for path in found if path.startswith("/")), None)


def mount_serving(path: str, host: Sequence[Mounted], but: Mounted | None = None) -> Mounted | None:
    """Return the mount that contains a path of the host."""
    best: Mounted | None = None
    for mount in host:
        point = mount.point.rstrip("/")
        is_above = path == mount.point or path.startswith(f"{point}/")
        if is_above and mount is not but and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_STATX_DONT_SYNC = 0x4000
_STATX_BASIC_STATS = 0x7FF
_SIZE = 256
# Source: struct statx in include/uapi/linux/stat.h.
_LAYOUT = struct.Struct("=20xIIH2xQQ48xqI4xqI4x8xII")

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of a file that the kernel has in memory; times are nanoseconds since the epoch."""

    device: int
    inode: int
    mode: int
    uid: int
    gid: int
    size: int
    ctime: int
    mtime: int

    @property
    def is_regular(self) -> bool:
        """True if it is a regular file."""
        return stat.S_ISREG(self.mode)


def cached_stat(file: str | int) -> Attributes:
    """Return a file's attributes as the kernel has them, without querying the file system.

    Args:
        file: a path whose parts are known to be local, such as /proc/PID/exe (links are followed), or an open
            descriptor.

    Raises:
        OSError: there is no such file.

    Source: statx(2).
    """
    at, name, flags = (_AT_FDCWD, os.fsencode(file), 0) if isinstance(file, str) else (file, b"", _AT_EMPTY_PATH)
    buffer = ctypes.create_string_buffer(_SIZE)
    if _libc.statx(at, name, flags | _AT_STATX_DONT_SYNC, _STATX_BASIC_STATS, buffer) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), file)
    uid, gid, mode, inode, size, ctime, ctime_ns, mtime, mtime_ns, major, minor = _LAYOUT.unpack_from(buffer.raw)
    return Attributes(
        device=os.makedev(major, minor),
        inode=inode,
        mode=mode,
        uid=uid,
        gid=gid,
        size=size,
        ctime=ctime * 1_000_000_000 + ctime_ns,
        mtime=mtime * 1_000_000_000 + mtime_ns,
    )


MAX_BYTES = 1 << 20

_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_IN_ROOT = 0x10
_RESOLVE_CACHED = 0x20
_UNAVAILABLE = {errno.ENOSYS, errno.EPERM}

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_MAX_LINKS = 8


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@dataclass(frozen=True, slots=True)
class Signature:
    """The attributes that change whenever a file changes."""

    device: int
    inode: int
    size: int
    mtime: int
    ctime: int


class closing:  # noqa: N801 - named like contextlib's
    """Close a descriptor at the end of the block. A generator would take longer than opening it."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def open_below(root: int, path: str, *, links: bool = True, is_cached: bool = False) -> int:
    """Open a path below a root as a location only (O_PATH), resolving links as if the root were "/", or following none.

    Args:
        root: an open root directory.
        path: the path below it.
        links: whether to follow symbolic links.
        is_cached: whether to fail if the kernel would have to ask a file system for anything, so that this never waits.

    Raises:
        OSError: there is no such file below the root.

    Source: openat2(2); before Linux 5.6 each component is opened in turn and no link is followed.
    """
    flags = os.O_PATH | os.O_CLOEXEC
    resolve = _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS | (0 if links else _RESOLVE_NO_SYMLINKS)
    resolve |= _RESOLVE_CACHED if is_cached else 0
    try:
        return _openat2(root, path, flags, resolve)
    except OSError as error:
        if error.errno in _UNAVAILABLE and not is_cached:
            return _open_by_steps(root, path)
        raise


def _openat2(directory: int, path: str, flags: int, resolve: int) -> int:
    how = _OpenHow(flags, 0, resolve)
    descriptor: int = _libc.syscall(_OPENAT2, directory, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if descriptor >= 0:
        return descriptor
    error = ctypes.get_errno()
    raise OSError(error, os.strerror(error), path)


def path_below(root: int, file: int) -> str:
    """Return an open file's path below an open root directory, without links."""
    # A Path takes four times as long.
    above, path = (os.readlink(f"/proc/self/fd/{each}") for each in (root, file))  # noqa: PTH115
    return path.removeprefix(above.rstrip("/"))


def _open_by_steps(root: int, path: str) -> int:
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise OSError(errno.EACCES, "would leave the root", path)
    at = os.dup(root)
    try:
        for part in parts:
            below = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = below
    except OSError:
        os.close(at)
        raise
    return at


def open_made_by_root(path: str, root: str = "/", *, is_cached: bool = False) -> int:
    """Open a path as a location only (O_PATH), if only root can have made or replaced any part of it.

    Every folder on the way must be root's and writable for nobody else; in a sticky one, anybody can make what isn't
    there yet. A link in such a folder is root's as well, so it is followed, with the same demands. No file system below
    a folder that fails is asked for anything, so none that hangs is reached. The root may be that of a process:
    /proc/PID/root. is_cached: as for open_below.

    Raises:
        OSError: there is no such path, or others than root can change it.
    """
    flags = os.O_PATH | os.O_CLOEXEC
    at, depth, links = os.open(root, flags | os.O_DIRECTORY), 0, 0
    rest = path.split("/")[::-1]
    try:
        while True:
            if not _is_only_roots(cached_stat(at)):
                raise PermissionError(errno.EACCES, "others than root can change it or a folder above it", path)
            while rest and rest[-1] in {"", "."}:
                rest.pop()
            if not rest:
                return at
            part = rest.pop()
            if part == ".." and depth == 0:
                continue
            if is_cached:
                below = _openat2(at, part, flags | os.O_NOFOLLOW, _RESOLVE_CACHED)
            else:
                below = os.open(part, flags | os.O_NOFOLLOW, dir_fd=at)
            is_link = stat.S_ISLNK(cached_stat(below).mode)
            if is_link and links < _MAX_LINKS:
                links += 1
                target = os.readlink("", dir_fd=below)
                rest += target.split("/")[::-1]
                os.close(below)
                if not target.startswith("/"):
                    continue
                below, depth = os.open(root, flags | os.O_DIRECTORY), 0
            else:
                depth += -1 if part == ".." else 1
            os.close(at)
            at = below
    except OSError:
        os.close(at)
        raise


def _is_only_roots(found: Attributes) -> bool:
    """Return whether nobody but root can change a file or folder; to write to a socket is to connect to it."""
    return found.uid == 0 and (stat.S_ISSOCK(found.mode) or not found.mode & _OTHERS_MAY_WRITE)


def signature_below(root: int, path: str, *, links: bool = True) -> Signature | None:
    """Return a file's signature; None if it doesn't exist or isn't a regular file."""
    try:
        with closing(open_below(root, path, links=links)) as descriptor:
            return _signature(os.fstat(descriptor))
    except (OSError, ValueError):
        return None


def read_below(
    root: int, path: str, *, links: bool = True, limit: int = MAX_BYTES, of_root: bool = False
) -> tuple[bytes, Signature] | None:
    """Read the complete lines in the first bytes of a regular file below an open root; None if there is none.

    The file is opened for reading only after it is known to be regular, because opening a device can have side effects.
    links: whether to follow symbolic links at all. of_root: only a file counts that nobody but root can write to.
    """
    try:
        with closing(open_below(root, path, links=links)) as descriptor:
            signature = _signature(os.fstat(descriptor))
            if signature is None or (of_root and not _is_only_roots(cached_stat(descriptor))):
                return None
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
            with closing(os.open(f"/proc/self/fd/{descriptor}", flags)) as file:
                text = read_up_to(file, limit)
    except (OSError, ValueError):
        return None
    if len(text) == limit:
        text = text[: text.rfind(b"\n") + 1]
    return text, signature


def _signature(found: os.stat_result) -> Signature | None:
    if not stat.S_ISREG(found.st_mode):
        return None
    return Signature(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
