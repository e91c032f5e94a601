"""What the shipped rules report, done by each call that can do it; run it as root, as a module.

Each action is one process named after it, in a mount namespace of its own with empty directories in the places that it
changes; those for rules about containers are in a process namespace as well. It prints which actions failed.
"""

import ctypes
import errno
import json
import os
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.adversary.host.actions_on_files import (
    BY_HANDLE,
    LIBC,
    OPENS,
    call,
    change_attributes,
    change_mode,
    create,
    directory,
    empty,
    exchange,
    give_capability,
    make,
    place,
    read,
    remove,
    set_times,
    write,
)
from tests.adversary.host.actions_on_processes import (
    Do,
    access_memory,
    as_nobody,
    load_module,
    mount_empty,
    mount_tree,
    move_mount,
    new_user,
    open_disk,
    open_fault_device,
    reach,
    redirect,
    send,
    set_clock,
)

LACKING = "this kernel lacks it"
_CLONE_NEWNS, _CLONE_NEWPID = 0x20000, 0x20000000
_MS_BIND, _MS_REC_PRIVATE = 0x1000, 0x44000
_PR_SET_NAME = 15
_SETUID = 0o4755


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


_PLACES = ("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat")
_OF_MEMORY = ("process_vm_readv", "process_vm_writev")


def _placed(path: str) -> Callable[[str], Do]:
    """Return a maker of actions that give a file a path."""
    return lambda name: partial(place, name, f"{Path(path).parent}/.source", path)


def _created(path: str, mode: int = 0o600) -> Callable[[str], Do]:
    return lambda name: partial(create, name, path, mode)


def _made(path: str, mode: int, device: int = 0) -> Callable[[str], Do]:
    return lambda name: partial(make, name, path, mode, device)


def _by_name(do: Callable[..., object], *more: object) -> Callable[[str], Do]:
    return lambda name: partial(do, name, *more)


def _always(do: Callable[..., object], *arguments: object) -> Callable[[str], Do]:
    return lambda _: partial(do, *arguments)


_CREATES = (*OPENS, "creat")
_RENAMES, _REMOVES, _MAKES, _DIRECTORIES = (
    _PLACES[:3],
    ("unlink", "unlinkat"),
    ("mknod", "mknodat"),
    ("mkdir", "mkdirat"),
)
_MODES = ("chmod", "fchmod", "fchmodat", "fchmodat2")
_EMPTIES = (*_CREATES, BY_HANDLE, "truncate", "ftruncate", "fallocate")
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
    ("Read sensitive file untrusted", (*OPENS, BY_HANDLE), _by_name(read, "/etc/shadow"), ""),
    ("Watch opened files by fanotify", ("fanotify_init",), _always(call, "fanotify_init", 1, 0), ""),
    ("Create link to sensitive file", _PLACES, _by_name(place, "/etc/shadow", "/etc/x"), "/etc"),
    ("Redirect standard stream to network connection", _STREAMS, _by_name(redirect), ""),
    *((rule, _CREATES, _created(path), _emptied(path)) for rule, path in _WRITTEN[1:]),
    *((rule, _PLACES, _placed(path), _emptied(path)) for rule, path in _WRITTEN[1:]),
    ("Write below binary directory", _CREATES, _created(_PROGRAM), "/usr/bin"),
    ("Write below binary directory", _PLACES, _placed(_PROGRAM), "/usr/bin"),
    *((rule, ("renameat2",), _by_name(exchange, path), _emptied(path)) for rule, path in _WRITTEN),
    *((rule, (BY_HANDLE,), _by_name(write, path), _emptied(path)) for rule, path in _WRITTEN),
    *((rule, ("rename", "symlink"), _placed(path), _emptied(path)) for rule, path in _DIRECTORIES_OF),
    ("Set setuid bit", _CREATES, _created("/srv/x", _SETUID), "/srv"),
    ("Set setuid bit", _MAKES, _made("/srv/x", _SETUID), "/srv"),
    ("Set setuid bit", _MODES, _by_name(change_mode, "/srv/x", _SETUID), "/srv"),
    ("Clear log files", _EMPTIES, _by_name(empty, _LOG), "/var/log"),
    ("Clear log files", _REMOVES, _by_name(remove, _LOG), "/var/log"),
    ("Clear log files", _RENAMES, _by_name(place, _LOG, "/var/log/x"), "/var/log"),
    ("Set system clock", _CLOCKS, _by_name(set_clock), ""),
    ("Change file attributes", ("ioctl", "file_setattr"), _by_name(change_attributes), "/srv"),
    ("Set file times back", _TIMES, _by_name(set_times), "/etc"),
    ("Remove shell history", _EMPTIES, _by_name(empty, _HISTORY), "/root"),
    ("Remove shell history", _REMOVES, _by_name(remove, _HISTORY), "/root"),
    ("Remove shell history", _PLACES, _placed(_HISTORY), "/root"),
    ("Change directory of system programs", _REMOVES, _by_name(remove, _PROGRAM), "/usr/bin"),
    ("Change directory of system programs", _RENAMES, _by_name(place, _PROGRAM, "/usr/bin/y"), "/usr/bin"),
    ("Change directory of system programs", _DIRECTORIES, _by_name(directory, _PROGRAM), "/usr/bin"),
    ("Create file below dev", _CREATES, _created("/dev/x"), "/dev"),
    ("Create file below dev", _MAKES, _made("/dev/x", 0o600), "/dev"),
    ("Create file below dev", _PLACES[:5], _by_name(place, "/dev/x/y", "/dev/y"), "/dev"),
    ("Create hidden file", _CREATES, _created("/srv/.x"), "/srv"),
    ("Create hidden file", _MAKES, _made("/srv/.x", 0o600), "/srv"),
    ("Create hidden file", _PLACES, _by_name(place, "/srv/x", "/srv/.x"), "/srv"),
    ("Create hidden file", _DIRECTORIES, _by_name(directory, "/srv/.x"), "/srv"),
    ("Set file capabilities", _ATTRIBUTES, _by_name(give_capability), "/srv"),
    ("Access memory of another process", (*OPENS, *_OF_MEMORY), _by_name(access_memory), ""),
    ("Mount exposes system files", ("mount",), _BIND, ""),
    ("Mount exposes system files", ("open_tree", "open_tree_attr"), _by_name(mount_tree), ""),
    ("Mount exposes system files", ("fsopen",), _always(call, "fsopen", b"overlay", 0), ""),
    ("Mount exposes system files", ("move_mount",), _always(move_mount, "/etc"), ""),
    (
        "Handle page faults without privileges",
        ("userfaultfd",),
        _always(as_nobody, partial(call, "userfaultfd", 1)),
        "",
    ),
    ("Handle page faults without privileges", ("openat",), _always(open_fault_device), ""),
    ("Load kernel module", ("init_module", "finit_module"), _by_name(load_module), ""),
    ("UDP traffic to unusual port", ("connect", "sendto", "sendmsg", "sendmmsg"), _by_name(send), ""),
)
"""Rules with the calls that do what they report, a maker of actions by call, and a directory that is empty for them."""
_IN_CONTAINER: tuple[tuple[str, tuple[str, ...], Callable[[str], Do], str], ...] = (
    ("Make file executable in container", _MODES, _by_name(change_mode, "/srv/x", 0o755), "/srv"),
    ("Create executable file in container", _CREATES, _created("/srv/x", 0o755), "/srv"),
    ("Create executable file in container", _MAKES, _made("/srv/x", 0o755), "/srv"),
    ("Mount in container", ("mount",), _BIND, ""),
    ("Mount in container", ("move_mount",), _always(move_mount, "/opt"), ""),
    ("New user namespace in container", ("unshare", "clone", "clone3"), _by_name(new_user), ""),
    ("Access device in container", (*OPENS, BY_HANDLE), _by_name(open_disk), "/dev"),
    ("Access device in container", _MAKES, _made("/srv/x", 0o60600, 2048), "/srv"),
    ("Reach files through root of process in container", OPENS, _by_name(reach, read, "/proc/1/root/etc/hostname"), ""),
    (
        "Reach files through root of process in container",
        ("chdir", "chroot"),
        _by_name(reach, call, b"/proc/1/root"),
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


def _perform(number: int, writer: int) -> None:
    """Perform an action in this process."""
    action = ACTIONS[number]
    call("unshare", _CLONE_NEWNS | (_CLONE_NEWPID if action.where == "container" else 0))
    if LIBC.mount(b"none", b"/", None, _MS_REC_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "mount")
    if action.empty:
        mount_empty(action.empty)
    # A process has the name that its parent had.
    LIBC.prctl(_PR_SET_NAME, f"action-{number}".encode())
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
