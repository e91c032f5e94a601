"""Calls that Falco gives no arguments: each is reported with what it is about."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.collector.watching import Watching, watching
from tests.live.compiled import Programs
from tests.live.needs import lacking

FCHMODAT2, SETXATTRAT, OPEN_TREE, MOVE_MOUNT, FSOPEN, FANOTIFY_INIT = 452, 463, 428, 429, 430, 300
UTIME, UTIMES, FUTIMESAT, UTIMENSAT = 132, 235, 261, 280
TYPES = (
    *("fchmodat2", "truncate", "ftruncate", "fallocate", "setxattr", "lsetxattr", "fsetxattr", "setxattrat"),
    *("utime", "utimes", "futimesat", "utimensat", "clock_settime", "settimeofday", "clock_adjtime", "adjtimex"),
    *("swapoff", "syslog", "file_setattr", "ioctl", "prctl"),
    *("open_tree", "move_mount", "fsopen", "fanotify_init", "openat", "openat2", "creat", "clone3", "mount"),
)
PRELUDE = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = libc.syscall(number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0: sys.exit(f"errno {ctypes.get_errno()}")
    return result
def as_nobody(number, *arguments):
    os.setresuid(65534, 65534, 65534)
    assert libc.syscall(number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)) == -1
open("file", "w").write("data")
fd = os.open("file", os.O_RDWR)
"""
FILE = "{folder}/file"


@pytest.fixture(scope="module")
def watch() -> Iterator[Watching]:
    """Watch the calls."""
    with watching(*TYPES) as running:
        yield running


@pytest.mark.parametrize(
    ("code", "event_type", "expected"),
    [
        (f"call({FCHMODAT2}, -100, b'file', 0o4755, 0x100)", "fchmodat2", {"fs.path.name": FILE}),
        ("os.truncate('file', 2)", "truncate", {"fs.path.name": FILE, "evt.arg.length": "2"}),
        ("os.ftruncate(fd, 3)", "ftruncate", {"fd.name": FILE, "fs.path.name": FILE, "evt.arg.length": "3"}),
        (
            "call(285, fd, 3, 0, 4096)",
            "fallocate",
            {"fd.name": FILE, "evt.arg.mode": "FALLOC_FL_KEEP_SIZE|FALLOC_FL_PUNCH_HOLE"},
        ),
        ("os.setxattr('file', 'user.x', b'1')", "setxattr", {"fs.path.name": FILE, "evt.arg.name": "user.x"}),
        (
            "os.setxattr('file', 'user.x', b'1', os.XATTR_CREATE, follow_symlinks=False)",
            "lsetxattr",
            {"evt.arg.path": FILE, "evt.arg.flags": "XATTR_CREATE"},
        ),
        ("os.setxattr(fd, 'user.x', b'1')", "fsetxattr", {"fd.name": FILE, "evt.arg.name": "user.x"}),
        (
            (
                f"value = ctypes.create_string_buffer(b'1')\n"
                f"how = (ctypes.c_uint64 * 2)(ctypes.addressof(value), 1)\n"
                f"call({SETXATTRAT}, -100, b'file', 0, b'user.x', how, 16)"
            ),
            "setxattrat",
            {"fs.path.name": FILE, "evt.arg.name": "user.x"},
        ),
        (
            f"call({OPEN_TREE}, -100, b'.', 0x80001)",
            "open_tree",
            {"fs.path.name": "{folder}", "evt.arg.flags": "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC", "fd.num": 4},
        ),
        (
            (
                f"os.mkdir('to'); call({MOVE_MOUNT}, call({OPEN_TREE}, -100, b'.', 1), b'', -100, b'to', 4)\n"
                "libc.umount2(b'to', 2)"
            ),
            "move_mount",
            {"fs.path.target": "{folder}/to", "evt.arg.flags": "MOVE_MOUNT_F_EMPTY_PATH"},
        ),
        (f"call({FSOPEN}, b'tmpfs', 1)", "fsopen", {"evt.arg.type": "tmpfs", "evt.arg.flags": "FSOPEN_CLOEXEC"}),
        (f"call({UTIMENSAT}, fd, None, None, 0)", "utimensat", {"fs.path.name": FILE, "evt.arg.mtime_age": "0"}),
        ("os.utime(os.open('new', os.O_CREAT))", "utimensat", {"evt.arg.created": "1", "fd.name": "{folder}/new"}),
        # As nobody, who may not, so that nothing changes.
        (
            "as_nobody(227, 0, (ctypes.c_int64 * 2)(5, 0))",
            "clock_settime",
            {"evt.res": "EPERM", "evt.arg.clockid": "0"},
        ),
        ("as_nobody(164, ctypes.create_string_buffer(16), None)", "settimeofday", {"evt.res": "EPERM"}),
        (
            "as_nobody(305, 0, ctypes.create_string_buffer(b'\\0\\1', 256))",
            "clock_adjtime",
            {"evt.res": "EPERM", "evt.arg.modes": "ADJ_SETOFFSET"},
        ),
        (
            "as_nobody(159, ctypes.create_string_buffer(b'\\2', 256))",
            "adjtimex",
            {"evt.res": "EPERM", "evt.arg.modes": "ADJ_FREQUENCY"},
        ),
        ("as_nobody(168, b'file')", "swapoff", {"evt.res": "EPERM", "fs.path.name": FILE}),
        ("as_nobody(103, 5, None, 0)", "syslog", {"evt.res": "EPERM", "evt.arg.type": "SYSLOG_ACTION_CLEAR"}),
        ("call(469, -100, b'file', ctypes.create_string_buffer(24), 24, 0)", "file_setattr", {"fs.path.name": FILE}),
        (f"call({FANOTIFY_INIT}, 1, 0)", "fanotify_init", {"evt.arg.flags": "FAN_CLOEXEC", "fd.num": 4}),
        ("os.open('new', os.O_CREAT | os.O_WRONLY, 0o4755)", "openat", {"evt.is_open_setuid": True}),
        ("os.open('.', 0o20200000 | os.O_WRONLY, 0o4755)", "openat", {"evt.is_open_setuid": True}),
        ("os.open('new', os.O_CREAT | os.O_WRONLY, 0o755)", "openat", {"evt.is_open_setuid": False}),
        ("call(85, b'new', 0o4755)", "creat", {"evt.is_open_setuid": True}),
        (
            "call(437, -100, b'new', (ctypes.c_uint64 * 3)(0o101, 0o4755, 0), 24)",
            "openat2",
            {"evt.is_open_setuid": True},
        ),
    ],
)
def test_a_call_is_reported_with_what_it_is_about(
    watch: Watching, tmp_path: Path, code: str, event_type: str, expected: dict[str, object]
) -> None:
    """Paths are absolute, and numbers have names."""
    done = watch.run(*(sys.executable, "-I", "-c", f"{PRELUDE}{code}\nprint(os.getpid())"), cwd=tmp_path, check=False)
    if done.returncode and "errno 38" in done.stderr:
        lacking(f"this kernel has no {event_type}")
    assert done.returncode == 0, done.stderr

    event = watch.events(proc__pid=int(done.stdout), evt__type=event_type)[-1]

    wanted = {
        name: value.format(folder=tmp_path) if isinstance(value, str) else value for name, value in expected.items()
    }
    assert {name: event[name] for name in expected} == wanted


@pytest.mark.parametrize(
    ("code", "event_type"),
    [
        (f"call({UTIME}, b'file', (ctypes.c_int64 * 2)(5, 7))", "utime"),
        (f"call({UTIMES}, b'file', times)", "utimes"),
        (f"call({FUTIMESAT}, -100, b'file', times)", "futimesat"),
        (f"call({FUTIMESAT}, fd, None, times)", "futimesat"),
        (f"call({UTIMENSAT}, os.open('.', 0), b'file', times, 0)", "utimensat"),
        (f"call({UTIMENSAT}, fd, None, times, 0)", "utimensat"),
        (f"call({UTIMENSAT}, fd, b'', times, 0x1000)", "utimensat"),
    ],
)
def test_a_call_that_sets_times_is_reported_with_their_age(
    watch: Watching, tmp_path: Path, code: str, event_type: str
) -> None:
    """The file is named by a path, a path in a directory, a descriptor, or a descriptor and an empty path."""
    code = f"{PRELUDE}times = (ctypes.c_int64 * 4)(5, 0, 7, 0)\n{code}\nprint(os.getpid())"

    done = watch.run(sys.executable, "-I", "-c", code, cwd=tmp_path)

    event = watch.events(proc__pid=int(done.stdout), evt__type=event_type)[-1]
    now = int(str(event["evt.rawtime"])) // 10**9
    assert [event["evt.rawarg.atime_age"], event["evt.rawarg.mtime_age"]] == [now - 5, now - 7]
    assert event["fs.path.name"] == f"{tmp_path}/file"


def test_a_new_user_namespace_shows_itself_where_the_arguments_no_longer_do(
    watch: Watching, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Another thread changes them all the time; the child's own return shows its namespace, if it is new."""
    program = Programs(tmp_path_factory.mktemp("programs"))("racing_clone")

    children = {int(pid) for pid in watch.run(program, "60").stdout.split()}

    assert children
    shown = {
        event["proc.pid"] for event in watch.events(evt__type="clone3", evt__rawres=0, evt__arg__flags="CLONE_NEWUSER")
    }
    assert children == shown
