import socket
import struct

import pytest

from collector.records.types import Syscall
from tests.unit.collector.calls import call
from tests.unit.collector.events.writing import NOT_KNOWN, written

_NOW, _OMIT = (1 << 30) - 1, (1 << 30) - 2


@pytest.mark.parametrize(
    ("made", "event", "name", "expected"),
    [
        # memory: struct open_how
        (call("openat2", blob1=struct.pack("<3Q", 0o101, 0o600, 8)), "openat2", "flags", ("O_CREAT|O_WRONLY", 6)),
        (call("openat2", blob1=struct.pack("<3Q", 0o101, 0o600, 8)), "openat2", "mode", ("0600", 0o600)),
        (call("openat2", blob1=struct.pack("<3Q", 0o101, 0o600, 8)), "openat2", "resolve", ("RESOLVE_BENEATH", 1)),
        (call("openat2", blob1=b"short"), "openat2", "flags", NOT_KNOWN),
        # memory: others
        (
            call("capset", blob1=struct.pack("<6I", 1, 2, 4, 8, 0, 0)),
            "capset",
            "cap_effective",
            ("800000001", 0x800000001),
        ),
        (call("capset", blob1=struct.pack("<6I", 1, 2, 4, 8, 0, 0)), "capset", "cap_permitted", ("2", 2)),
        (call("capset", blob1=struct.pack("<6I", 1, 2, 4, 8, 0, 0)), "capset", "cap_inheritable", ("4", 4)),
        (call("capset", blob1=bytes(24)), "capset", "cap_permitted", ("0", 0)),
        (call("capset", blob1=b"\xff" * 24), "capset", "cap_effective", ("F" * 16, -1)),
        (call("capset"), "capset", "cap_effective", NOT_KNOWN),
        (call("setrlimit", blob1=struct.pack("<2q", 5, -1)), "setrlimit", "cur", ("5", 5)),
        (call("setrlimit", blob1=struct.pack("<2q", 5, -1)), "setrlimit", "max", ("-1", -1)),
        (call("setrlimit", blob1=struct.pack("<2i", 5, 6), is_compat=True), "setrlimit", "max", ("6", 6)),
        (call("setrlimit", blob1=bytes(8)), "setrlimit", "max", NOT_KNOWN),
        # memory: times, as seconds before the event at 10**9
        (call("utime", blob1=struct.pack("<2q", 5, 10**9 - 9)), "utime", "mtime_age", ("9", 9)),
        (call("utime", blob1=struct.pack("<2i", 5, 10**9 + 9), is_compat=True), "utime", "mtime_age", ("-9", -9)),
        (call("utimes", blob1=struct.pack("<4q", 0, 0, -1, 5)), "utimes", "mtime_age", ("1000000001", 10**9 + 1)),
        (call("utimensat"), "utimensat", "mtime_age", ("0", 0)),
        (call("utimensat", blob1=struct.pack("<4q", 5, 0, 5, _NOW)), "utimensat", "mtime_age", ("0", 0)),
        (call("utimensat", blob1=struct.pack("<4q", 5, _OMIT, 6, 0)), "utimensat", "atime_age", NOT_KNOWN),
        (
            call("utimensat", blob1=struct.pack("<4i", 5, 0, 10**9, 0), is_compat=True),
            "utimensat",
            "mtime_age",
            ("0", 0),
        ),
        (
            call("utimensat", blob1=struct.pack("<4q", 5, 0, 10**9, 0), is_compat=True),
            "utimensat",
            "mtime_age",
            ("0", 0),
        ),
        (
            call("utimensat", blob1=struct.pack("<4q", -(2**63), 0, 0, 0)),
            "utimensat",
            "atime_age",
            (str(2**63 - 1), 2**63 - 1),
        ),
        (call("utimensat", blob1=b"short"), "utimensat", "atime_age", NOT_KNOWN),
        (call("pipe2", blob1=struct.pack("<2i", 3, 4)), "pipe2", "fd1", ("3", 3)),
        (call("pipe2", blob1=struct.pack("<2i", 3, 4)), "pipe2", "fd2", ("4", 4)),
        (call("pipe2", blob1=struct.pack("<2i", 3, 4), result=-24), "pipe2", "fd2", ("-1", -1)),
        (
            call("io_uring_setup", blob1=struct.pack("<6I", 8, 16, 2, 0, 9, 0)),
            "io_uring_setup",
            "cq_entries",
            ("16", 16),
        ),
        (
            call("io_uring_setup", blob1=struct.pack("<6I", 8, 16, 2, 0, 9, 0)),
            "io_uring_setup",
            "flags",
            ("IORING_SETUP_SQPOLL", 2),
        ),
        (call("io_uring_setup"), "io_uring_setup", "sq_entries", NOT_KNOWN),
        (call("write", blob1=b"a\0\xffb"), "write", "data", ("a\0\udcffb", 0)),
        (call("getcwd", blob1=b"/root\0junk"), "getcwd", "path", ("/root", 0)),
        (call("mount"), "mount", "type", ("", 0)),
        # addresses
        (
            call("bind", blob2=struct.pack("<H", 2) + struct.pack(">H", 80) + socket.inet_aton("10.0.0.1")),
            "bind",
            "addr",
            ("10.0.0.1:80", 0),
        ),
        (call("connect", blob2=struct.pack("<H", 1) + b"/run/x\0"), "connect", "addr", ("/run/x", 0)),
        (call("connect", blob2=b"\2"), "connect", "addr", NOT_KNOWN),
        # paths
        (call("rename", path1="/a", path2="/b"), "rename", "oldpath", ("/a", 0)),
        (call("rename", path1="/a", path2="/b"), "rename", "newpath", ("/b", 0)),
        (call("rename", result=-14), "rename", "newpath", NOT_KNOWN),
    ],
)
def test_memory_is_written_as_falco_does(
    made: Syscall, event: str, name: str, expected: tuple[str | None, int]
) -> None:
    """Missing or unreadable values have neither text nor number."""
    assert written(made, event, name) == expected
