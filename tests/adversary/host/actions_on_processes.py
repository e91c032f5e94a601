"""Actions on processes, the kernel and the network, by any call: credentials, privileges, command and control."""

import ctypes
import os
import socket
import stat
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.adversary.host.actions_on_files import AT_FDCWD, LIBC, OPENS, call, open_file, read, tried

Do = Callable[[], object]
_CLONE_NEWUSER = 0x10000000


def _connected() -> tuple[socket.socket, socket.socket]:
    server = socket.create_server(("127.0.0.1", 0))
    return socket.create_connection(server.getsockname()), server


def redirect(name: str) -> None:
    """Make a connection standard input."""
    client, server = _connected()
    first = client.fileno()
    if name in ("dup2", "dup3"):
        call(name, first, 0, *([0] if name == "dup3" else []))
        return
    if name == "pidfd_getfd":
        process = call("pidfd_open", os.getpid(), 0)
        os.close(0)
        call(name, process, first, 0)
        return
    os.close(0)
    if name == "dup":
        call(name, first)
    elif name == "fcntl":
        call(name, first, 0, 0)
    elif name == "connect":
        assert call("socket", socket.AF_INET, socket.SOCK_STREAM, 0) == 0
        address = (
            struct.pack("<H", socket.AF_INET) + struct.pack(">H", server.getsockname()[1]) + b"\x7f\0\0\1" + bytes(8)
        )
        call(name, 0, address, len(address))
    else:
        call(name, server.fileno(), None, None, 0)


def send(name: str) -> None:
    """Send a datagram to a port without a service, on a network of its own."""
    call("unshare", 0x40000000)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # A raw request, because no tool may be there: SIOCSIFADDR and SIOCSIFFLAGS of the loopback interface.
    request = struct.pack("16sHH4s8x", b"lo", socket.AF_INET, 0, socket.inet_aton("192.0.2.1"))
    for number, setting in ((0x8916, request), (0x8914, struct.pack("16sH22x", b"lo", 1))):
        LIBC.ioctl(sender.fileno(), number, ctypes.create_string_buffer(setting, 40))
    address = struct.pack("<H", socket.AF_INET) + struct.pack(">H", 4444) + socket.inet_aton("192.0.2.1") + bytes(8)
    to = ctypes.create_string_buffer(address, len(address))
    if name == "connect":
        call(name, sender.fileno(), to, len(address))
        return
    if name == "sendto":
        call(name, sender.fileno(), b"x", 1, 0, to, len(address))
        return
    data = ctypes.create_string_buffer(b"x")
    piece = (ctypes.c_uint64 * 2)(ctypes.addressof(data), 1)
    words = (ctypes.addressof(to), len(address), ctypes.addressof(piece), 1, 0, 0, 0, 0)
    message = (ctypes.c_uint64 * 8)(*words)
    call(name, sender.fileno(), message, *([1] if name == "sendmmsg" else []), 0)


def _child() -> int:
    """Start a process that waits to be killed, and return its pid."""
    child = os.fork()
    if child == 0:
        LIBC.prctl(1, 9)
        LIBC.pause()
        os._exit(0)
    return child


def access_memory(name: str) -> None:
    """Access the memory of a child."""
    child = _child()
    try:
        if name in OPENS:
            open_file(name, f"/proc/{child}/mem", os.O_RDONLY)
            return
        # The child has it at the same place.
        data = ctypes.create_string_buffer(8)
        piece = (ctypes.c_uint64 * 2)(ctypes.addressof(data), 8)
        call(name, child, piece, 1, piece, 1, 0)
    finally:
        os.kill(child, 9)


def mount_empty(place: str) -> None:
    """Mount an empty file system."""
    if LIBC.mount(b"none", place.encode(), b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), f"mount on {place}")


def mount_tree(name: str) -> None:
    """Take a mount of /etc."""
    how = (ctypes.c_uint64 * 4)()
    call(name, AT_FDCWD, b"/etc", 1, *([how, 32] if name == "open_tree_attr" else []))


def move_mount(target: str) -> None:
    """Mount a directory elsewhere."""
    call("move_mount", call("open_tree", AT_FDCWD, b"/srv", 1), b"", AT_FDCWD, target.encode(), 4)


def new_user(name: str) -> None:
    """Make a user namespace."""
    if name == "unshare":
        call(name, _CLONE_NEWUSER)
        return
    arguments = (ctypes.c_uint64 * 11)(_CLONE_NEWUSER, 0, 0, 0, 17)
    made = call(name, arguments, 88) if name == "clone3" else call(name, _CLONE_NEWUSER | 17, 0, 0, 0, 0)
    if made == 0:
        os._exit(0)
    os.waitpid(made, 0)


def open_disk(name: str) -> None:
    """Open a file with the name of a disk."""
    Path("/dev/sda").touch()
    read(name, "/dev/sda")


def reach(name: str, do: Callable[..., object], path: object) -> None:
    """Do something with a path as the first process of a container, whose /proc shows itself."""
    if LIBC.mount(b"proc", b"/proc", b"proc", 0, None):
        raise OSError(ctypes.get_errno(), "mount of /proc")
    do(name, path)


def as_nobody(do: Do) -> None:
    """Do something as the user nobody."""
    os.setresuid(65534, 65534, 65534)
    do()


def open_fault_device() -> None:
    """Open the device that handles page faults, as the user nobody."""
    number = Path("/dev/userfaultfd").stat().st_rdev
    mount_empty("/dev")
    os.mknod("/dev/userfaultfd", 0o666 | stat.S_IFCHR, number)
    Path("/dev/userfaultfd").chmod(0o666)
    as_nobody(partial(open_file, "openat", "/dev/userfaultfd", os.O_RDWR))


def set_clock(name: str) -> None:
    """Try to set the clock, as somebody who may not."""
    os.setresuid(65534, 65534, 65534)
    assert not int(Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0], 16)
    when = ctypes.create_string_buffer(256)
    if "adj" in name:
        struct.pack_into("<I", when, 0, 0x100)
    tried(name, *([0] if name.startswith("clock_") else []), when, *([None] if name == "settimeofday" else []))


def load_module(name: str) -> None:
    """Try to load an empty module."""
    if name == "init_module":
        tried(name, b"", 0, b"")
    else:
        tried(name, os.open("/dev/null", os.O_RDONLY), b"", 0)
