"""Reads a file's attributes without waiting for its file system.

stat(2) queries the file system, and a program (FUSE) or another machine (NFS) behind it may never respond; not even
SIGKILL ends the wait. With AT_STATX_DONT_SYNC the kernel returns the attributes that it has in memory.
"""

import ctypes
import os
import stat
import struct
from dataclasses import dataclass

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
        """Whether it is a regular file."""
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
