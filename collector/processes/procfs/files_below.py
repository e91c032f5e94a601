"""Reads files below a root directory that someone else controls, and opens paths that only root can have made.

The container decides what its /etc/passwd is: a link out of its root, a FIFO that never returns, a device, an endless
file. None of these may reach the host's files or block the reader.
"""

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from collector.processes.procfs.bounded_read import read_up_to
from collector.processes.procfs.cached_stat import Attributes, cached_stat

MAX_BYTES = 1 << 20

_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_IN_ROOT = 0x10
_UNAVAILABLE = {errno.ENOSYS, errno.EPERM}

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_MAX_LINKS = 8


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Signature:
    """The attributes that change whenever a file changes."""

    device: int
    inode: int
    size: int
    mtime: int
    ctime: int


@contextlib.contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Close a descriptor at the end of the block."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_below(root: int, path: str, *, links: bool = True) -> int:
    """Open a file as a location only (O_PATH), resolving links as if the root were "/".

    Args:
        root: descriptor of the root directory.
        path: relative to it.
        links: whether to follow symbolic links at all.

    Raises:
        OSError: there is no such file below the root.

    Source: openat2(2); before Linux 5.6 each component is opened in turn and no link is followed.
    """
    flags = os.O_PATH | os.O_CLOEXEC
    resolve = _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS | (0 if links else _RESOLVE_NO_SYMLINKS)
    how = _OpenHow(flags, 0, resolve)
    name = os.fsencode(path)
    descriptor: int = _libc.syscall(_OPENAT2, root, name, ctypes.byref(how), ctypes.sizeof(how))
    if descriptor >= 0:
        return descriptor
    error = ctypes.get_errno()
    if error in _UNAVAILABLE:
        return _open_by_steps(root, path)
    raise OSError(error, os.strerror(error), path)


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


def open_made_by_root(path: str, root: str = "/") -> int:
    """Open a path as a location only (O_PATH), if only root can have made or replaced any part of it.

    Every folder on the way must be root's and writable for nobody else; in a sticky one, anybody can make what isn't
    there yet. A link in such a folder is root's as well, so it is followed, with the same demands. No file system below
    a folder that fails is asked for anything, so none that hangs is reached.

    Args:
        path: from the root.
        root: the root directory, which may be that of a process: /proc/PID/root.

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
        descriptor = open_below(root, path, links=links)
    except (OSError, ValueError):
        return None
    try:
        return _signature(os.fstat(descriptor))
    except OSError:
        return None
    finally:
        os.close(descriptor)


def read_below(
    root: int, path: str, *, links: bool = True, limit: int = MAX_BYTES, of_root: bool = False
) -> tuple[bytes, Signature] | None:
    """Read the complete lines in the first bytes of a regular file; None if there is none.

    The file is opened for reading only after it is known to be regular, because opening a device can have side effects.

    Args:
        root: descriptor of the root directory.
        path: relative to it.
        links: whether to follow symbolic links at all.
        limit: the most bytes to read.
        of_root: whether only a file counts that nobody but root can write to.
    """
    try:
        descriptor = open_below(root, path, links=links)
    except (OSError, ValueError):
        return None
    try:
        signature = _signature(os.fstat(descriptor))
        if signature is None or (of_root and not _is_only_roots(cached_stat(descriptor))):
            return None
        reading = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with contextlib.closing(os.fdopen(reading, "rb", buffering=0)) as file:
            text = read_up_to(file.fileno(), limit)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if len(text) == limit:
        text = text[: text.rfind(b"\n") + 1]
    return text, signature


def _signature(found: os.stat_result) -> Signature | None:
    if not stat.S_ISREG(found.st_mode):
        return None
    return Signature(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
