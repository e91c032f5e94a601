"""Parameters of events, written as Falco writes them."""

import pytest

from tests.unit.lanner.captures.format import scap_files as scap
from tests.unit.lanner.captures.test_reading import only

Values = dict[str, int | str | bytes | None]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("futex", {"res": 0, "addr": 16, "op": 128, "val": -1}, "res=0 addr=10 op=128(FUTEX_PRIVATE_FLAG) val=-1"),
        ("kill", {"res": 0, "pid": 1, "sig": 64}, "res=0 pid=1(init) sig=64"),
        ("ppoll", {"res": 0, "timeout": -1, "sigmask": 3}, "res=0 fds=NULL timeout=none sigmask=SIGHUP SIGINT"),
        ("ppoll", {"res": 0, "timeout": 2, "sigmask": 0}, "res=0 fds=NULL timeout=2(2e-09s) sigmask="),
        (
            "io_uring_register",
            {"res": 0, "fd": 9, "opcode": 1, "arg": 0, "nr_args": -1},
            "res=0 fd=9 opcode=1(IORING_UNREGISTER_BUFFERS) arg=0 nr_args=-1",
        ),
        ("delete_module", {"res": 0, "name": "m", "flags": 1}, "res=0 name=m flags=1(O_TRUNC)"),
        ("unlink", {"res": 0, "path": ".."}, "res=0 path=..(/)"),
        (
            "ptrace",
            {"res": 0, "addr": b"\0" + (26).to_bytes(8, "little"), "data": b"\x01\x0f", "request": 1, "pid": 1},
            "res=0 addr=1A data=15(SIGTERM) request=1(PTRACE_TRACEME) pid=1(init)",
        ),
        (
            "setsockopt",
            {"res": 0, "fd": 9, "level": 1, "optname": 2, "val": b"\2\xfb\xff\xff\xff", "optlen": 4},
            "res=0 fd=9 level=1(SOL_SOCKET) optname=2(SO_REUSEADDR) val=-5 optlen=4",
        ),
        (
            "bind",
            {"res": 0, "fd": 9, "addr": b"\n" + bytes(10) + b"\xff\xff" + bytes((192, 0, 2, 7)) + b"\x50\0"},
            "res=0 addr=::ffff:192.0.2.7:80 fd=9",
        ),
    ],
)
def test_a_parameter_is_written_as_in_falco(name: str, values: Values, expected: str) -> None:
    """Signs, masks of signals, durations, names of numbers and values of several types."""
    assert only(scap.capture(scap.event(name, 10, values)), "evt.args") == (expected,)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("getuid", {"uid": 0}, "SUCCESS"),
        ("getegid", {"egid": -1}, "<NONE>"),
        ("fork", {"res": -11, "tid": 10, "pid": 10, "ptid": 1, "flags": 0, "uid": 0, "gid": 0}, "-11"),
        ("brk", {"res": -12}, "FFFFFFFFFFFFFFF4"),
        ("mmap", {"res": -12, "fd": -1}, "ENOMEM"),
    ],
)
def test_a_result_is_written_by_its_type(name: str, values: Values, expected: str) -> None:
    """Only results that may be errors are named as errors."""
    assert only(scap.capture(scap.event(name, 10, values)), "evt.res") == (expected,)


def test_a_buffer_is_printed_with_dots_and_compared_as_it_is() -> None:
    """Bytes that can't be printed are dots in output only."""
    data = scap.capture(scap.event("read", 10, {"res": 4, "data": b"a\0\n\xff", "fd": 0, "size": 4}))
    assert only(data, "evt.buffer", "evt.arg.data") == ("a...", "a...")
