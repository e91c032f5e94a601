import pytest

from collector.records.types import Syscall
from schemas.batch import Process
from tests.unit.collector.calls import call, file, sock
from tests.unit.collector.events.writing import NOT_KNOWN, written

ENOENT, EPERM = 2, 1


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
        # both ends of a connection
        (
            call("connect", fd=3, socket=sock(local_ip="10.0.0.1", local_port=5, remote_ip="10.0.0.2", remote_port=6)),
            "connect",
            "tuple",
            ("10.0.0.1:5->10.0.0.2:6", 0),
        ),
        (call("connect", result=-9), "connect", "tuple", ("NULL", 0)),
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
def test_a_fact_is_written_as_falco_does(
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
