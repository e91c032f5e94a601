"""Changes of files, each by any of the calls that can make it: persistence, stealth, impaired defenses."""

import ctypes
import os
import struct
from contextlib import suppress
from pathlib import Path

from collector.kernel import x86_64

NUMBERS = {event: number for number, event in x86_64.NATIVE.items()}
AT_FDCWD = -100
_CAPABILITY = struct.pack("<5I", 0x02000000, 1, 0, 0, 0)
LIBC = ctypes.CDLL(None, use_errno=True)
OPENS, BY_HANDLE = ("open", "openat", "openat2"), "open_by_handle_at"


def call(name: str, *arguments: object) -> int:
    """Make a system call; raise OSError if it fails."""
    passed = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = LIBC.syscall(ctypes.c_long(NUMBERS[name]), *passed)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return int(result)


def tried(name: str, *arguments: object) -> None:
    """Make a system call that may fail."""
    with suppress(OSError):
        call(name, *arguments)


def open_file(name: str, path: str, flags: int, mode: int = 0o600) -> int:
    """Open a file; return its descriptor."""
    text = path.encode()
    if name == "open":
        return call(name, text, flags, mode)
    if name == "creat":
        return call(name, text, mode)
    if name == "openat2":
        how = (ctypes.c_uint64 * 3)(flags, mode if flags & os.O_CREAT else 0, 0)
        return call(name, AT_FDCWD, text, how, 24)
    if name == BY_HANDLE:
        handle = ctypes.create_string_buffer(struct.pack("<Ii", 128, 0), 136)
        if LIBC.name_to_handle_at(AT_FDCWD, text, handle, ctypes.byref(ctypes.c_int()), 0):
            raise OSError(ctypes.get_errno(), "name_to_handle_at")
        return call(name, os.open(Path(path).parent, os.O_RDONLY), handle, flags)
    return call(name, AT_FDCWD, text, flags, mode)


def read(name: str, path: str) -> None:
    """Open a file for reading."""
    open_file(name, path, os.O_RDONLY)


def _parents(*paths: str) -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)


def create(name: str, path: str, mode: int = 0o600) -> None:
    """Create a file and its directory."""
    _parents(path)
    open_file(name, path, os.O_WRONLY | os.O_CREAT, mode)


def write(name: str, path: str) -> None:
    """Open a file that is there for writing."""
    _parents(path)
    Path(path).touch()
    open_file(name, path, os.O_WRONLY)


def exchange(name: str, path: str) -> None:
    """Put another file in the place of one that is there, which takes the other's place."""
    _parents(path)
    for each in (path, f"{path}.other"):
        Path(each).touch()
    call(name, AT_FDCWD, path.encode(), AT_FDCWD, f"{path}.other".encode(), 2)


def make(name: str, path: str, mode: int, device: int = 0) -> None:
    """Make a file, or a device file, by mknod."""
    _parents(path)
    call(name, *([AT_FDCWD] if name == "mknodat" else []), path.encode(), mode, device)


def place(name: str, source: str, target: str) -> None:
    """Make another path of a file; source: created if it isn't there."""
    _parents(source, target)
    Path(source).touch()
    old, new = source.encode(), target.encode()
    if name in ("rename", "link", "symlink"):
        call(name, old, new)
    elif name == "symlinkat":
        call(name, old, AT_FDCWD, new)
    else:
        call(name, AT_FDCWD, old, AT_FDCWD, new, *([0] if name in ("renameat2", "linkat") else []))


def directory(name: str, path: str) -> None:
    """Create a directory."""
    call(name, *([AT_FDCWD] if name == "mkdirat" else []), path.encode(), 0o700)


def remove(name: str, path: str) -> None:
    """Remove a file that is there."""
    _parents(path)
    Path(path).touch()
    call(name, path.encode()) if name == "unlink" else call(name, AT_FDCWD, path.encode(), 0)


def empty(name: str, path: str) -> None:
    """Remove what a file contains."""
    _parents(path)
    Path(path).write_bytes(bytes(9000))
    if name == "creat":
        open_file(name, path, 0)
    elif name in (*OPENS, BY_HANDLE):
        open_file(name, path, os.O_WRONLY | os.O_TRUNC)
    elif name == "truncate":
        call(name, path.encode(), 0)
    elif name == "ftruncate":
        call(name, os.open(path, os.O_WRONLY), 0)
    else:
        call(name, os.open(path, os.O_WRONLY), 3, 0, 8192)


def change_mode(name: str, path: str, mode: int) -> None:
    """Change the mode of a file."""
    _parents(path)
    Path(path).touch()
    if name == "chmod":
        call(name, path.encode(), mode)
    elif name == "fchmod":
        call(name, os.open(path, os.O_RDONLY), mode)
    else:
        call(name, AT_FDCWD, path.encode(), mode, 0)


def set_times(name: str) -> None:
    """Set the times of a file to 1970."""
    path = "/etc/x"
    Path(path).touch()
    times = (ctypes.c_int64 * 4)()
    if name in ("utime", "utimes"):
        call(name, path.encode(), times)
    else:
        call(name, os.open(path, os.O_RDONLY), None, times, 0)


def change_attributes(name: str) -> None:
    """Change the attributes of a file, or try to."""
    path = "/srv/x"
    Path(path).touch()
    if name == "ioctl":
        tried(name, os.open(path, os.O_RDONLY), 0x40086602, ctypes.create_string_buffer(8))
    else:
        call(name, AT_FDCWD, path.encode(), ctypes.create_string_buffer(24), 24, 0)


def give_capability(name: str) -> None:
    """Set a capability of a file."""
    path = "/srv/program"
    Path(path).touch()
    value, size = ctypes.create_string_buffer(_CAPABILITY, len(_CAPABILITY)), len(_CAPABILITY)
    key = b"security.capability"
    if name == "setxattrat":
        call(name, AT_FDCWD, path.encode(), 0, key, (ctypes.c_uint64 * 2)(ctypes.addressof(value), size), 16)
    else:
        call(name, os.open(path, os.O_RDONLY) if name == "fsetxattr" else path.encode(), key, value, size, 0)
