"""What the shipped rules report, done by each call that can do it; run it as root, as a module.

Each action is one process named after it, in a mount namespace of its own with empty directories in the places that it
changes; those for rules about containers are in a process namespace as well. It prints which actions failed.
"""

import ctypes
import errno
import json
import os
import socket
import stat
import struct
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from collector.kernel import x86_64

Do = Callable[[], object]
NUMBERS = {event: number for number, event in x86_64.NATIVE.items()}
LACKING = "this kernel lacks it"
_AT_FDCWD, _AT_EMPTY_PATH, _CLONE_NEWNS, _CLONE_NEWPID, _CLONE_NEWUSER = -100, 0x1000, 0x20000, 0x20000000, 0x10000000
_MS_BIND, _MS_REC_PRIVATE = 0x1000, 0x44000
_PR_SET_NAME = 15
_SETUID = 0o4755
_CAPABILITY = struct.pack("<5I", 0x02000000, 1, 0, 0, 0)
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Action:
    """One action by one call."""

    rule: str
    call: str
    """The event type that is reported."""
    do: Do
    where: str
    empty: str
    """A directory that is an empty one of its own; may be none."""


def call(name: str, *arguments: object) -> int:
    """Make a system call; raise OSError if it fails."""
    passed = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = _libc.syscall(ctypes.c_long(NUMBERS[name]), *passed)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return int(result)


def _tried(name: str, *arguments: object) -> None:
    with suppress(OSError):
        call(name, *arguments)


def _open(name: str, path: str, flags: int, mode: int = 0o600) -> int:
    text = path.encode()
    if name == "open":
        return call(name, text, flags, mode)
    if name == "creat":
        return call(name, text, mode)
    if name == "openat2":
        how = (ctypes.c_uint64 * 3)(flags, mode if flags & os.O_CREAT else 0, 0)
        return call(name, _AT_FDCWD, text, how, 24)
    if name == _BY_HANDLE:
        handle = ctypes.create_string_buffer(struct.pack("<Ii", 128, 0), 136)
        if _libc.name_to_handle_at(_AT_FDCWD, text, handle, ctypes.byref(ctypes.c_int()), 0):
            raise OSError(ctypes.get_errno(), "name_to_handle_at")
        return call(name, os.open(Path(path).parent, os.O_RDONLY), handle, flags)
    return call(name, _AT_FDCWD, text, flags, mode)


_OPENS, _BY_HANDLE = ("open", "openat", "openat2"), "open_by_handle_at"
_PLACES = ("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat")
_OF_MEMORY = ("process_vm_readv", "process_vm_writev")


def _read(name: str, path: str) -> None:
    _open(name, path, os.O_RDONLY)


def _parents(*paths: str) -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)


def _create(name: str, path: str, mode: int = 0o600) -> None:
    _parents(path)
    _open(name, path, os.O_WRONLY | os.O_CREAT, mode)


def _write(name: str, path: str) -> None:
    """Open a file that is there for writing."""
    _parents(path)
    Path(path).touch()
    _open(name, path, os.O_WRONLY)


def _exchange(name: str, path: str) -> None:
    """Put another file in the place of one that is there, which takes the other's place."""
    _parents(path)
    for each in (path, f"{path}.other"):
        Path(each).touch()
    call(name, _AT_FDCWD, path.encode(), _AT_FDCWD, f"{path}.other".encode(), 2)


def _make(name: str, path: str, mode: int, device: int = 0) -> None:
    _parents(path)
    call(name, *([_AT_FDCWD] if name == "mknodat" else []), path.encode(), mode, device)


def _place(name: str, source: str, target: str) -> None:
    """Make another path of a file; source: created if it isn't there."""
    _parents(source, target)
    Path(source).touch()
    old, new = source.encode(), target.encode()
    if name in ("rename", "link", "symlink"):
        call(name, old, new)
    elif name == "symlinkat":
        call(name, old, _AT_FDCWD, new)
    else:
        call(name, _AT_FDCWD, old, _AT_FDCWD, new, *([0] if name in ("renameat2", "linkat") else []))


def _remove(name: str, path: str) -> None:
    _parents(path)
    Path(path).touch()
    call(name, path.encode()) if name == "unlink" else call(name, _AT_FDCWD, path.encode(), 0)


def _empty(name: str, path: str) -> None:
    """Remove what a file contains."""
    _parents(path)
    Path(path).write_bytes(bytes(9000))
    if name == "creat":
        _open(name, path, 0)
    elif name in (*_OPENS, _BY_HANDLE):
        _open(name, path, os.O_WRONLY | os.O_TRUNC)
    elif name == "truncate":
        call(name, path.encode(), 0)
    elif name == "ftruncate":
        call(name, os.open(path, os.O_WRONLY), 0)
    else:
        call(name, os.open(path, os.O_WRONLY), 3, 0, 8192)


def _change_mode(name: str, path: str, mode: int) -> None:
    _parents(path)
    Path(path).touch()
    if name == "chmod":
        call(name, path.encode(), mode)
    elif name == "fchmod":
        call(name, os.open(path, os.O_RDONLY), mode)
    else:
        call(name, _AT_FDCWD, path.encode(), mode, 0)


def _set_times(name: str) -> None:
    path = "/etc/x"
    Path(path).touch()
    times = (ctypes.c_int64 * 4)()
    if name in ("utime", "utimes"):
        call(name, path.encode(), times)
    else:
        call(name, os.open(path, os.O_RDONLY), None, times, 0)


def _give_capability(name: str) -> None:
    path = "/srv/program"
    Path(path).touch()
    value, size = ctypes.create_string_buffer(_CAPABILITY, len(_CAPABILITY)), len(_CAPABILITY)
    key = b"security.capability"
    if name == "setxattrat":
        call(name, _AT_FDCWD, path.encode(), 0, key, (ctypes.c_uint64 * 2)(ctypes.addressof(value), size), 16)
    else:
        call(name, os.open(path, os.O_RDONLY) if name == "fsetxattr" else path.encode(), key, value, size, 0)


def _connected() -> tuple[socket.socket, socket.socket]:
    server = socket.create_server(("127.0.0.1", 0))
    return socket.create_connection(server.getsockname()), server


def _redirect(name: str) -> None:
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


def _child() -> int:
    """Start a process that waits to be killed, and return its pid."""
    child = os.fork()
    if child == 0:
        _libc.prctl(1, 9)
        _libc.pause()
        os._exit(0)
    return child


def _access_memory(name: str) -> None:
    child = _child()
    try:
        if name in _OPENS:
            _open(name, f"/proc/{child}/mem", os.O_RDONLY)
            return
        # The child has it at the same place.
        data = ctypes.create_string_buffer(8)
        piece = (ctypes.c_uint64 * 2)(ctypes.addressof(data), 8)
        call(name, child, piece, 1, piece, 1, 0)
    finally:
        os.kill(child, 9)


def _mount_tree(name: str) -> None:
    how = (ctypes.c_uint64 * 4)()
    call(name, _AT_FDCWD, b"/etc", 1, *([how, 32] if name == "open_tree_attr" else []))


def _move_mount(target: str) -> None:
    call("move_mount", call("open_tree", _AT_FDCWD, b"/srv", 1), b"", _AT_FDCWD, target.encode(), 4)


def _new_user(name: str) -> None:
    if name == "unshare":
        call(name, _CLONE_NEWUSER)
        return
    arguments = (ctypes.c_uint64 * 11)(_CLONE_NEWUSER, 0, 0, 0, 17)
    made = call(name, arguments, 88) if name == "clone3" else call(name, _CLONE_NEWUSER | 17, 0, 0, 0, 0)
    if made == 0:
        os._exit(0)
    os.waitpid(made, 0)


def _open_disk(name: str) -> None:
    """Open a file with the name of a disk."""
    Path("/dev/sda").touch()
    _read(name, "/dev/sda")


def _reach(name: str, do: Callable[..., object], path: object) -> None:
    """Do something with a path as the first process of a container, whose /proc shows itself."""
    if _libc.mount(b"proc", b"/proc", b"proc", 0, None):
        raise OSError(ctypes.get_errno(), "mount of /proc")
    do(name, path)


def _send(name: str) -> None:
    """Send a datagram to a port without a service, on a network of its own."""
    call("unshare", 0x40000000)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # A raw request, because no tool may be there: SIOCSIFADDR and SIOCSIFFLAGS of the loopback interface.
    request = struct.pack("16sHH4s8x", b"lo", socket.AF_INET, 0, socket.inet_aton("192.0.2.1"))
    for number, setting in ((0x8916, request), (0x8914, struct.pack("16sH22x", b"lo", 1))):
        _libc.ioctl(sender.fileno(), number, ctypes.create_string_buffer(setting, 40))
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


def _as_nobody(do: Do) -> None:
    os.setresuid(65534, 65534, 65534)
    do()


def _set_clock(name: str) -> None:
    """Try to set the clock, as somebody who may not."""
    os.setresuid(65534, 65534, 65534)
    assert not int(Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0], 16)
    when = ctypes.create_string_buffer(256)
    if "adj" in name:
        struct.pack_into("<I", when, 0, 0x100)
    _tried(name, *([0] if name.startswith("clock_") else []), when, *([None] if name == "settimeofday" else []))


def _change_attributes(name: str) -> None:
    path = "/srv/x"
    Path(path).touch()
    if name == "ioctl":
        _tried(name, os.open(path, os.O_RDONLY), 0x40086602, ctypes.create_string_buffer(8))
    else:
        call(name, _AT_FDCWD, path.encode(), ctypes.create_string_buffer(24), 24, 0)


def _open_fault_device() -> None:
    number = Path("/dev/userfaultfd").stat().st_rdev
    _mount_empty("/dev")
    os.mknod("/dev/userfaultfd", 0o666 | stat.S_IFCHR, number)
    Path("/dev/userfaultfd").chmod(0o666)
    _as_nobody(partial(_open, "openat", "/dev/userfaultfd", os.O_RDWR))


def _load_module(name: str) -> None:
    if name == "init_module":
        _tried(name, b"", 0, b"")
    else:
        _tried(name, os.open("/dev/null", os.O_RDONLY), b"", 0)


def _directory(name: str, path: str) -> None:
    call(name, *([_AT_FDCWD] if name == "mkdirat" else []), path.encode(), 0o700)


def _placed(path: str) -> Callable[[str], Do]:
    """Return a maker of actions that give a file a path."""
    return lambda name: partial(_place, name, f"{Path(path).parent}/.source", path)


def _created(path: str, mode: int = 0o600) -> Callable[[str], Do]:
    return lambda name: partial(_create, name, path, mode)


def _made(path: str, mode: int, device: int = 0) -> Callable[[str], Do]:
    return lambda name: partial(_make, name, path, mode, device)


def _by_name(do: Callable[..., object], *more: object) -> Callable[[str], Do]:
    return lambda name: partial(do, name, *more)


def _always(do: Callable[..., object], *arguments: object) -> Callable[[str], Do]:
    return lambda _: partial(do, *arguments)


_CREATES = (*_OPENS, "creat")
_RENAMES, _REMOVES, _MAKES, _DIRECTORIES = (
    _PLACES[:3],
    ("unlink", "unlinkat"),
    ("mknod", "mknodat"),
    ("mkdir", "mkdirat"),
)
_MODES = ("chmod", "fchmod", "fchmodat", "fchmodat2")
_EMPTIES = (*_CREATES, _BY_HANDLE, "truncate", "ftruncate", "fallocate")
_TIMES = ("utime", "utimes", "futimesat", "utimensat")
_CLOCKS = ("clock_settime", "settimeofday", "clock_adjtime", "adjtimex")
_ATTRIBUTES = ("setxattr", "lsetxattr", "fsetxattr", "setxattrat")
_STREAMS = ("dup", "dup2", "dup3", "fcntl", "accept", "accept4", "connect", "pidfd_getfd")
_LOG, _HISTORY, _PROGRAM = "/var/log/auth.log", "/root/.bash_history", "/usr/bin/x"
_BIND = _always(call, "mount", b"/etc", b"/srv", None, _MS_BIND, None)
_WRITTEN = (
    ("Write below binary directory", _PROGRAM),
    ("Write SSH authorized keys", "/root/.ssh/authorized_keys"),
    ("Write preload configuration", "/etc/ld.so.preload"),
    ("Write scheduled job", "/etc/cron.d/x"),
    ("Write system service", "/etc/systemd/system/x.service"),
    ("Change shell start-up file", "/root/.bashrc"),
    ("Write account file", "/etc/sudoers.d/x"),
    ("Write login configuration", "/etc/pam.d/x"),
    ("Change source of packages", "/etc/apt/sources.list.d/x.list"),
)
_DIRECTORIES_OF = (
    ("Write SSH authorized keys", "/root/.ssh"),
    ("Write scheduled job", "/etc/cron.d"),
    ("Write system service", "/etc/systemd/system"),
    ("Change shell start-up file", "/etc/profile.d"),
    ("Write account file", "/etc/sudoers.d"),
    ("Write login configuration", "/etc/pam.d"),
    ("Change source of packages", "/etc/apt/sources.list.d"),
)
"""Directories whose replacement replaces such files."""


def _emptied(path: str) -> str:
    """Return the directory that is an empty one for an action on a path."""
    return "/usr/bin" if path == _PROGRAM else str(Path(path).parents[-2])


_ON_HOST: tuple[tuple[str, tuple[str, ...], Callable[[str], Do], str], ...] = (
    ("Read sensitive file untrusted", (*_OPENS, _BY_HANDLE), _by_name(_read, "/etc/shadow"), ""),
    ("Watch opened files by fanotify", ("fanotify_init",), _always(call, "fanotify_init", 1, 0), ""),
    ("Create link to sensitive file", _PLACES, _by_name(_place, "/etc/shadow", "/etc/x"), "/etc"),
    ("Redirect standard stream to network connection", _STREAMS, _by_name(_redirect), ""),
    *((rule, _CREATES, _created(path), _emptied(path)) for rule, path in _WRITTEN[1:]),
    *((rule, _PLACES, _placed(path), _emptied(path)) for rule, path in _WRITTEN[1:]),
    ("Write below binary directory", _CREATES, _created(_PROGRAM), "/usr/bin"),
    ("Write below binary directory", _PLACES, _placed(_PROGRAM), "/usr/bin"),
    *((rule, ("renameat2",), _by_name(_exchange, path), _emptied(path)) for rule, path in _WRITTEN),
    *((rule, (_BY_HANDLE,), _by_name(_write, path), _emptied(path)) for rule, path in _WRITTEN),
    *((rule, ("rename", "symlink"), _placed(path), _emptied(path)) for rule, path in _DIRECTORIES_OF),
    ("Set setuid bit", _CREATES, _created("/srv/x", _SETUID), "/srv"),
    ("Set setuid bit", _MAKES, _made("/srv/x", _SETUID), "/srv"),
    ("Set setuid bit", _MODES, _by_name(_change_mode, "/srv/x", _SETUID), "/srv"),
    ("Clear log files", _EMPTIES, _by_name(_empty, _LOG), "/var/log"),
    ("Clear log files", _REMOVES, _by_name(_remove, _LOG), "/var/log"),
    ("Clear log files", _RENAMES, _by_name(_place, _LOG, "/var/log/x"), "/var/log"),
    ("Set system clock", _CLOCKS, _by_name(_set_clock), ""),
    ("Change file attributes", ("ioctl", "file_setattr"), _by_name(_change_attributes), "/srv"),
    ("Set file times back", _TIMES, _by_name(_set_times), "/etc"),
    ("Remove shell history", _EMPTIES, _by_name(_empty, _HISTORY), "/root"),
    ("Remove shell history", _REMOVES, _by_name(_remove, _HISTORY), "/root"),
    ("Remove shell history", _PLACES, _placed(_HISTORY), "/root"),
    ("Change directory of system programs", _REMOVES, _by_name(_remove, _PROGRAM), "/usr/bin"),
    ("Change directory of system programs", _RENAMES, _by_name(_place, _PROGRAM, "/usr/bin/y"), "/usr/bin"),
    ("Change directory of system programs", _DIRECTORIES, _by_name(_directory, _PROGRAM), "/usr/bin"),
    ("Create file below dev", _CREATES, _created("/dev/x"), "/dev"),
    ("Create file below dev", _MAKES, _made("/dev/x", 0o600), "/dev"),
    ("Create file below dev", _PLACES[:5], _by_name(_place, "/dev/x/y", "/dev/y"), "/dev"),
    ("Create hidden file", _CREATES, _created("/srv/.x"), "/srv"),
    ("Create hidden file", _MAKES, _made("/srv/.x", 0o600), "/srv"),
    ("Create hidden file", _PLACES, _by_name(_place, "/srv/x", "/srv/.x"), "/srv"),
    ("Create hidden file", _DIRECTORIES, _by_name(_directory, "/srv/.x"), "/srv"),
    ("Set file capabilities", _ATTRIBUTES, _by_name(_give_capability), "/srv"),
    ("Access memory of another process", (*_OPENS, *_OF_MEMORY), _by_name(_access_memory), ""),
    ("Mount exposes system files", ("mount",), _BIND, ""),
    ("Mount exposes system files", ("open_tree", "open_tree_attr"), _by_name(_mount_tree), ""),
    ("Mount exposes system files", ("fsopen",), _always(call, "fsopen", b"overlay", 0), ""),
    ("Mount exposes system files", ("move_mount",), _always(_move_mount, "/etc"), ""),
    (
        "Handle page faults without privileges",
        ("userfaultfd",),
        _always(_as_nobody, partial(call, "userfaultfd", 1)),
        "",
    ),
    ("Handle page faults without privileges", ("openat",), _always(_open_fault_device), ""),
    ("Load kernel module", ("init_module", "finit_module"), _by_name(_load_module), ""),
    ("UDP traffic to unusual port", ("connect", "sendto", "sendmsg", "sendmmsg"), _by_name(_send), ""),
)
"""Rules with the calls that do what they report, a maker of actions by call, and a directory that is empty for them."""
_IN_CONTAINER: tuple[tuple[str, tuple[str, ...], Callable[[str], Do], str], ...] = (
    ("Make file executable in container", _MODES, _by_name(_change_mode, "/srv/x", 0o755), "/srv"),
    ("Create executable file in container", _CREATES, _created("/srv/x", 0o755), "/srv"),
    ("Create executable file in container", _MAKES, _made("/srv/x", 0o755), "/srv"),
    ("Mount in container", ("mount",), _BIND, ""),
    ("Mount in container", ("move_mount",), _always(_move_mount, "/opt"), ""),
    ("New user namespace in container", ("unshare", "clone", "clone3"), _by_name(_new_user), ""),
    ("Access device in container", (*_OPENS, _BY_HANDLE), _by_name(_open_disk), "/dev"),
    ("Access device in container", _MAKES, _made("/srv/x", 0o60600, 2048), "/srv"),
    (
        "Reach files through root of process in container",
        _OPENS,
        _by_name(_reach, _read, "/proc/1/root/etc/hostname"),
        "",
    ),
    (
        "Reach files through root of process in container",
        ("chdir", "chroot"),
        _by_name(_reach, call, b"/proc/1/root"),
        "",
    ),
    ("Open packet socket in container", ("socket",), _always(call, "socket", socket.AF_PACKET, 3, 0), ""),
    ("Open packet socket in container", ("socket",), _always(call, "socket", socket.AF_INET, 10, 0), ""),
    (
        "Set up io_uring in container",
        ("io_uring_setup",),
        _always(call, "io_uring_setup", 1, ctypes.create_string_buffer(120)),
        "",
    ),
)
ACTIONS: tuple[Action, ...] = tuple(
    Action(rule, name, make(name), where, empty)
    for where, rows in (("host", _ON_HOST), ("container", _IN_CONTAINER))
    for rule, names, make, empty in rows
    for name in names
)


def _mount_empty(place: str) -> None:
    if _libc.mount(b"none", place.encode(), b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), f"mount on {place}")


def _perform(number: int, writer: int) -> None:
    """Perform an action in this process."""
    action = ACTIONS[number]
    call("unshare", _CLONE_NEWNS | (_CLONE_NEWPID if action.where == "container" else 0))
    if _libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "mount")
    if action.empty:
        _mount_empty(action.empty)
    # A process has the name that its parent had.
    _libc.prctl(_PR_SET_NAME, f"action-{number}".encode())
    _in_child(partial(_enter, action), writer)


def _enter(action: Action) -> None:
    if action.where == "container":
        # Namespaces show with the next change of a process, which usually is an exec.
        os.setsid()
    action.do()


def _in_child(do: Do, writer: int) -> None:
    """Do something in a child, and write why it failed."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        do()
    except BaseException as error:  # noqa: BLE001 - it is the test's to report
        lacks = isinstance(error, OSError) and error.errno in (errno.ENOSYS, errno.EOPNOTSUPP)
        os.write(writer, (LACKING if lacks else "".join(traceback.format_exception(error))[-900:]).encode())
    os._exit(0)


def main(numbers: Sequence[int]) -> None:
    """Perform actions, and print the reasons of those that failed, by number."""
    failed = {}
    for number in numbers:
        reader, writer = os.pipe()
        _in_child(partial(_perform, number, writer), writer)
        os.close(writer)
        with os.fdopen(reader) as report:
            if text := report.read():
                failed[number] = text
    sys.stdout.write(json.dumps(failed))


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or range(len(ACTIONS)))
