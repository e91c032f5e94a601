import socket
import struct
from typing import Any

import pytest

from collector.events.arguments import Context, argument_names, signed32, signed64, writers_of
from collector.events.descriptors import describe
from collector.events.system_calls import BY_EVENT
from collector.records.types import Syscall
from schemas.batch import Process
from tests.unit.collector.calls import call, file, sock

ENOENT, EPERM = 2, 1
PROCESS = Process(
    pid=10, ppid=9, vpid=1, name="bash", exe="-bash", exepath="/bin/bash", args=("-c", "id"), cwd="/root", uid=0, gid=0
)
NOT_KNOWN = (None, 0)


def written(made: Syscall, event: str, name: str, **context: Any) -> tuple[str | None, int]:
    """Write one argument of a call: text and number."""
    place = argument_names(BY_EVENT[event].number).index(name)
    values: dict[str, Any] = {
        "process": PROCESS,
        "descriptor": describe(event, made),
        "path1": made.path1,
        "path2": made.path2,
        "user_name": {0: "root", 33: "www-data"}.get,
        "group_name": {0: "root", 8: "mail"}.get,
        **context,
    }
    return writers_of(BY_EVENT[event].number)[place](made, Context(**values))


@pytest.mark.parametrize(
    ("event", "name", "registers", "text", "number"),
    [
        # plain numbers
        ("read", "size", [0, 0, 4096], "4096", 4096),
        ("lseek", "offset", [3, 2**64 - 1], "-1", -1),
        ("listen", "backlog", [3, 2**32 - 1], "-1", -1),
        ("socket", "type", [2, 3], "3", 3),
        ("socket", "type", [2, 3 | 1 << 40], "3", 3),
        ("mknod", "dev", [0, 0, 0x801], "2049", 0x801),
        ("close_range", "last", [3, 2**32 - 1], "4294967295", 2**32 - 1),
        # hexadecimal without a prefix, in capitals
        ("mmap", "addr", [0x7FFF00ABC000], "7FFF00ABC000", 0x7FFF00ABC000),
        ("munmap", "addr", [2**64 - 1], "FFFFFFFFFFFFFFFF", -1),
        ("ioctl", "request", [0, 0x5412], "5412", 0x5412),
        ("ioctl", "request", [0, 0x5412 | 7 << 32], "5412", 0x5412),
        ("fcntl", "arg", [3, 4, 0x800], "800", 0x800),
        ("accept4", "flags", [3, 0, 0, 0o2004000], "80800", 0o2004000),
        ("mkdir", "mode", [0, 0o755], "1ED", 0o755),
        # octal with a leading zero
        ("creat", "mode", [0, 0o644], "0644", 0o644),
        ("creat", "mode", [0, 0], "0", 0),
        ("creat", "mode", [0, 0o4755], "04755", 0o4755),
        # a mode counts only where something may be created
        ("openat", "mode", [-100, 0, 0o100, 0o600], "0600", 0o600),
        ("openat", "mode", [-100, 0, 0o20200002, 0o600], "0600", 0o600),
        ("openat", "mode", [-100, 0, 0o200000, 0o600], "0", 0),
        ("openat", "mode", [-100, 0, 0, 0o600], "0", 0),
        # flags by Falco's numbers and names
        ("openat", "flags", [-100, 0, 0], "O_RDONLY", 1),
        ("openat", "flags", [-100, 0, 1], "O_WRONLY", 2),
        ("openat", "flags", [-100, 0, 2], "O_RDWR", 3),
        ("openat", "flags", [-100, 0, 0o1101], "O_TRUNC|O_CREAT|O_WRONLY", 0o400 | 4 | 2),
        ("openat", "flags", [-100, 0, 0o2000000], "O_RDONLY|O_CLOEXEC", 4097),
        ("mmap", "prot", [0, 0, 7], "PROT_READ|PROT_WRITE|PROT_EXEC", 7),
        ("mprotect", "prot", [0, 0, 0], "PROT_NONE", 0),
        ("unshare", "flags", [0x10000000], "CLONE_NEWUSER", 1048576),
        ("clone", "flags", [0x10000000 | 17], "CLONE_NEWUSER", 1048576),
        ("access", "mode", [0, 5], "R_OK|X_OK", 5),
        ("mount", "flags", [0, 0, 0, 0xC0ED0000 | 3], "RDONLY|NOSUID", 3),
        ("mount", "flags", [0, 0, 0, 3], "RDONLY|NOSUID", 3),
        ("socket", "flags", [2, 1], "0", 0),
        ("fork", "flags", [], "0", 0),
        # one name of many
        ("ptrace", "request", [16, 77], "PTRACE_ATTACH", 11),
        ("socket", "domain", [2], "AF_INET", 2),
        ("fcntl", "cmd", [3, 1030], "F_DUPFD_CLOEXEC", 26),
        ("bpf", "cmd", [5], "BPF_PROG_LOAD", 5),
        ("prctl", "option", [15], "PR_SET_NAME", 15),
        ("setsockopt", "level", [3, 1], "SOL_SOCKET", 1),
        ("setsockopt", "optname", [3, 1, 57], "SO_COOKIE", 53),
        ("setsockopt", "optname", [3, 6, 57], "57", 57),
        # names of bits
        ("chmod", "mode", [0, 0o4755], None, 0o4755),
        # signals, users, groups
        ("kill", "sig", [1, 9], "SIGKILL", 9),
        ("kill", "sig", [1, 0], "0", 0),
        ("kill", "sig", [1, 99], "99", 99),
        ("kill", "pid", [2**32 - 1, 9], "-1", -1),
        ("setuid", "uid", [33], "www-data", 33),
        ("setuid", "uid", [4711], "<NA>", 4711),
        ("setresuid", "suid", [0, 0, 2**32 - 1], "<NONE>", -1),
        ("setgid", "gid", [8], "mail", 8),
        ("chown", "uid", [0, 33], "33", 33),
        ("prctl", "arg2_int", [1, 9], "9", 9),
        ("prctl", "arg2_int", [15, 0x7FFF0000], "0", 0),
        # descriptors by number
        ("openat", "dirfd", [2**32 - 100], "AT_FDCWD", -100),
        ("openat", "dirfd", [5], "5", 5),
        ("close", "fd", [2**32 - 1], "-1", -1),
    ],
)
def test_a_register_is_written_as_falco_does(
    event: str, name: str, registers: list[int], text: str | None, number: int
) -> None:
    """The kernel ignores the upper half of what it takes as an int; text None: only the number counts."""
    found = written(call(event, registers), event, name)

    assert found[1] == number
    assert text is None or found[0] == text


@pytest.mark.parametrize(
    ("event", "name", "result", "text", "number"),
    [
        ("close", "res", 0, "0", 0),
        ("read", "res", 512, "512", 512),
        ("close", "res", -ENOENT, "ENOENT", -2),
        ("close", "res", -4095, "-4095", -4095),
        ("mmap", "res", -EPERM, "EPERM", -1),
        ("brk", "res", 0x55D000, "55D000", 0x55D000),
        ("clone", "res", 4711, "4711", 4711),
        ("clone", "res", -11, "EAGAIN", -11),
        ("readv", "size", 80, "80", 80),
        ("getuid", "uid", 33, "www-data", 33),
        ("getegid", "egid", 8, "mail", 8),
        ("openat", "fd", -ENOENT, "ENOENT", -2),
        ("openat", "fd", 3, "3", 3),
    ],
)
def test_a_result_is_written_as_falco_does(event: str, name: str, result: int, text: str, number: int) -> None:
    """A failure is shown by its errno."""
    assert written(call(event, result=result), event, name) == (text, number)


@pytest.mark.parametrize(
    ("made", "event", "name", "expected"),
    [
        # a descriptor is labeled with what it is
        (call("openat", result=3, fd=3, file=file("/etc/shadow")), "openat", "fd", ("<f>/etc/shadow", 3)),
        (call("read", [4], fd=4, file=file("/etc", 0o40755)), "read", "fd", ("<d>/etc", 4)),
        (call("dup2", [4, 0], result=0, fd=0, socket=sock()), "dup2", "res", ("<4>", 0)),
        (call("dup2", [4, 0], result=0, fd=0, socket=sock()), "dup2", "oldfd", ("4", 4)),
        (call("dup2", [4, 0], result=0, fd=0, socket=sock()), "dup2", "newfd", ("<4>", 0)),
        (call("bpf", [0], result=7), "bpf", "fd", ("<b>", 7)),
        (call("bpf", [1], result=0), "bpf", "fd", ("0", 0)),
        (call("bpf", [0], result=-1), "bpf", "fd", ("EPERM", -1)),
        # facts of the opened file
        (call("openat", result=3, fd=3, file=file(dev=8 << 20 | 1)), "openat", "dev", ("801", 0x801)),
        (call("openat", result=3, fd=3, file=file(ino=99)), "openat", "ino", ("99", 99)),
        (call("openat", result=3, fd=3, file=file(ino=2**64 - 1)), "openat", "ino", (str(2**64 - 1), -1)),
        (call("openat", result=-2), "openat", "dev", ("0", 0)),
        (
            call("openat", [0, 0, 1], fd=3, file=file(is_created=True)),
            "openat",
            "flags",
            ("O_WRONLY|O_F_CREATED", 16386),
        ),
        (
            call("openat", [0, 0, 0], fd=3, file=file(is_upper_layer=True)),
            "openat",
            "flags",
            ("O_RDONLY|FD_UPPER_LAYER", 32769),
        ),
        (call("creat", fd=3, file=file(is_lower_layer=True)), "creat", "creat_flags", ("FD_LOWER_LAYER_CREAT", 2)),
        (call("creat", fd=3, file=file()), "creat", "creat_flags", ("0", 0)),
        (call("open_by_handle_at", fd=3, file=file("/x")), "open_by_handle_at", "path", ("/x", 0)),
        (call("open_by_handle_at", result=-1), "open_by_handle_at", "path", NOT_KNOWN),
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
        (call("pipe2", blob1=struct.pack("<2i", 3, 4)), "pipe2", "fd1", ("3", 3)),
        (call("pipe2", blob1=struct.pack("<2i", 3, 4)), "pipe2", "fd2", ("4", 4)),
        (call("pipe2", blob1=struct.pack("<2i", 3, 4), result=-24), "pipe2", "fd2", ("-1", -1)),
        (
            call("clone3", blob1=struct.pack("<Q", 0x10000000).ljust(88, b"\0")),
            "clone3",
            "flags",
            ("CLONE_NEWUSER", 1048576),
        ),
        (call("clone3"), "clone3", "flags", NOT_KNOWN),
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
        (
            call("connect", fd=3, socket=sock(local_ip="10.0.0.1", local_port=5, remote_ip="10.0.0.2", remote_port=6)),
            "connect",
            "tuple",
            ("10.0.0.1:5->10.0.0.2:6", 0),
        ),
        (call("connect", result=-9), "connect", "tuple", ("NULL", 0)),
        # paths
        (call("rename", path1="/a", path2="/b"), "rename", "oldpath", ("/a", 0)),
        (call("rename", path1="/a", path2="/b"), "rename", "newpath", ("/b", 0)),
        (call("rename", result=-14), "rename", "newpath", NOT_KNOWN),
        # what the kernel side doesn't report
        (call("recvmsg"), "recvmsg", "msgcontrol", NOT_KNOWN),
        # the process itself
        (call("clone"), "clone", "exe", ("-bash", 0)),
        (call("clone"), "clone", "args", ("-c.id.", 0)),
        (call("clone"), "clone", "cwd", ("/root", 0)),
        (call("clone"), "clone", "comm", ("bash", 0)),
        (call("clone"), "clone", "tid", ("11", 11)),
        (call("clone"), "clone", "pid", ("10", 10)),
        (call("clone"), "clone", "ptid", ("9", 9)),
        (call("clone"), "clone", "vpid", ("1", 1)),
        (call("clone", vtid=2), "clone", "vtid", ("2", 2)),
        (call("execve", result=-2), "execve", "uid", ("0", 0)),
    ],
)
def test_an_argument_is_written_as_falco_does(
    made: Syscall, event: str, name: str, expected: tuple[str | None, int]
) -> None:
    """Missing or unreadable values have neither text nor number."""
    assert written(made, event, name) == expected


def test_what_is_not_known_of_a_process_is_missing() -> None:
    """A process that ended before it could be read has only its number."""
    made = call("clone")
    gone = Process(pid=10)

    assert written(made, "clone", "ptid", process=gone) == NOT_KNOWN
    assert written(made, "clone", "args", process=gone) == NOT_KNOWN
    assert written(made, "clone", "pid", process=gone) == ("10", 10)


@pytest.mark.parametrize(
    ("register", "as_int", "as_long"),
    [
        (0, 0, 0),
        (2**31 - 1, 2**31 - 1, 2**31 - 1),
        (2**31, -(2**31), 2**31),
        (2**32 - 1, -1, 2**32 - 1),
        (2**63, 0, -(2**63)),
        (2**64 - 1, -1, -1),
    ],
)
def test_a_register_reads_as_c_does(register: int, as_int: int, as_long: int) -> None:
    """An int is the lower half."""
    assert (signed32(register), signed64(register)) == (as_int, as_long)
