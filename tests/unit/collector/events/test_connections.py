import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.events.system_calls import BY_EVENT
from collector.records.dns import DnsAnswer, written
from collector.records.types import Syscall
from tests.unit.collector import packed
from tests.unit.collector.calls import WHO, call, sock
from tests.unit.collector.events.reuse import ReusingBatch, World, assert_reported_alike, reported

CONNECT, ACCEPT, ACCEPT4, LISTEN = (BY_EVENT[name].number for name in ("connect", "accept", "accept4", "listen"))
HERE, THERE = bytes((127, 0, 0, 1)), bytes((10, 0, 0, 7))
HERE6, MAPPED = b"\0" * 15 + b"\1", b"\0" * 10 + b"\xff\xff" + THERE


def address(port: int = 80) -> bytes:
    """Pack the struct sockaddr_in that is passed to connect."""
    return struct.pack("<H", 2) + struct.pack(">H", port) + THERE + bytes(8)


def socket(local_port: int, remote_port: int, **facts: Any) -> bytes:
    """Pack an established TCP socket."""
    return packed.socket_info(
        **{
            "family": 2,
            "local_port": local_port,
            "remote_port": remote_port,
            "state": 1,
            "local": HERE,
            "remote": THERE,
            **facts,
        }
    )


def accepted(local_port: int, remote_port: int, fd: int = 7, **facts: Any) -> bytes:
    """Pack an accept4."""
    kept = {"event": ACCEPT4, "result": fd, "fd": fd, "arguments": (0, 0, 0, 0o4000, 0, 0)}
    return packed.syscall(**{**kept, "socket": socket(local_port, remote_port), **facts})


def connected(local_port: int, port: int = 80, **facts: Any) -> bytes:
    """Pack a connect that succeeded."""
    kept = {"event": CONNECT, "fd": 3, "arguments": (3, 0, 0, 0, 0, 0), "blob2": address(port)}
    return packed.syscall(**{**kept, "socket": socket(local_port, port), **facts})


@pytest.fixture
def batch() -> ReusingBatch:
    """Return an empty batch."""
    return ReusingBatch(World())


def test_a_connection_of_a_server_is_like_its_first(batch: ReusingBatch) -> None:
    """Its descriptor, inode and remote port are its own."""
    batch.take(accepted(443, 50_001, fd=7, ino=1))
    taken = batch.take(accepted(443, 50_002, fd=8, ino=2))
    first, second = reported(batch.builder)

    assert taken
    name = "10.0.0.7:50002->127.0.0.1:443"
    own = {"res": 8, "fd_num": 8, "remote_port": 50_002, "fd_name": name}
    assert second[0] == first[0] | own
    assert second[1] == [("fd", f"<4>{name}", 8), ("tuple", name, 0), *first[1][2:]]


def test_a_connection_to_one_address_is_like_the_first(batch: ReusingBatch) -> None:
    """Only its local port is its own."""
    batch.take(connected(50_001))
    taken = batch.take(connected(50_002))
    first, second = reported(batch.builder)

    assert taken
    name = "127.0.0.1:50002->10.0.0.7:80"
    assert second[0] == first[0] | {"local_port": 50_002, "fd_name": name}
    assert second[1] == [first[1][0], ("tuple", name, 0), ("fd", f"<4>{name}", 3), first[1][3]]


@pytest.mark.parametrize(
    "other",
    [
        connected(50_002, 81),
        connected(50_002, fd=4),
        connected(50_002, arguments=(4, 0, 0, 0, 0, 0)),
        connected(50_002, result=-111),
        connected(50_002, flags=packed.COMPAT),
        connected(50_002, blob2=b""),
        connected(0),
        accepted(80, 50_001),
    ],
)
def test_a_connection_that_differs_in_more_is_not(batch: ReusingBatch, other: bytes) -> None:
    """Nor is one whose port is not known yet."""
    batch.take(connected(50_001))

    assert not batch.take(other)


@pytest.mark.parametrize(
    "other",
    [
        accepted(443, 0),
        accepted(443, 50_002, arguments=(0, 0, 0, 0, 0, 0)),
        accepted(443, 50_002, fd=-1),
        accepted(443, 50_002, result=-1, fd=7),
        accepted(443, 50_002, socket=socket(443, 50_002, remote=HERE)),
        accepted(443, 50_002, event=ACCEPT),
    ],
)
def test_an_accepted_connection_that_differs_in_more_is_not(batch: ReusingBatch, other: bytes) -> None:
    """Nor is one that failed."""
    batch.take(accepted(443, 50_001))

    assert not batch.take(other)


@pytest.mark.parametrize(
    "facts",
    [
        {"event": LISTEN},
        {"socket": packed.socket_info(1, name=b"/run/x")},
        {"socket": socket(443, 0)},
        {"result": -11},
        {"socket": b""},
    ],
)
def test_nothing_equals_what_is_described_differently(batch: ReusingBatch, facts: dict[str, Any]) -> None:
    """Other calls, unix sockets, failures and incomplete ones."""
    batch.take(accepted(443, 50_001, **facts))

    assert not batch.take(accepted(443, 50_001, **facts, ino=1))


def test_what_is_known_of_the_process_must_be_the_same(batch: ReusingBatch) -> None:
    """A connection must not show what its process was before."""
    batch.take(accepted(443, 50_001))
    batch.world.entry.version += 1

    assert not batch.take(accepted(443, 50_002))
    assert batch.take(accepted(443, 50_003))


SOCKETS = st.builds(
    packed.socket_info,
    st.sampled_from([2, 2, 2, 10, 10, 1, 16]),
    kind=st.sampled_from([1, 1, 1, 2, 3]),
    protocol=st.sampled_from([6, 6, 17, 0]),
    local_port=st.sampled_from([0, 80, 443, 50_000, 65_535]),
    remote_port=st.sampled_from([0, 80, 443, 50_000, 65_535]),
    state=st.sampled_from([1, 1, 1, 2, 10]),
    local=st.sampled_from([HERE, HERE6, MAPPED]),
    remote=st.sampled_from([THERE, HERE6, MAPPED]),
)
RECORDS = st.builds(
    packed.syscall,
    event=st.sampled_from([CONNECT, CONNECT, ACCEPT, ACCEPT4, LISTEN]),
    arguments=st.tuples(st.sampled_from([3, 3, 4]), *[st.just(0)] * 5),
    result=st.sampled_from([0, 0, 3, 3, 4, -115, -1]),
    fd=st.sampled_from([3, 3, 3, 4, -1]),
    ino=st.integers(0, 3),
    flags=st.sampled_from([0, 0, 0, packed.COMPAT]),
    socket=st.one_of(SOCKETS, SOCKETS, st.just(b"")),
    blob2=st.sampled_from([b"", address(), address(), address(443), b"\x02\x00", address(0)]),
)


@given(st.lists(RECORDS, max_size=40))
@settings(max_examples=300)
def test_connections_are_reported_as_if_no_two_were_similar(records: list[bytes]) -> None:
    """Speed is the only difference."""
    assert_reported_alike(records)


def answered(name: str, uid: int, last: int = 7) -> Syscall:
    """Return a call by which a user receives a name of an address, 10.0.0.7 unless another one is named."""
    message = written(DnsAnswer(name, "A", "NOERROR", (f"10.0.0.{last}",), seconds=60))
    server = sock(type=2, protocol=17, local_port=40_000, remote_ip="10.0.0.53", remote_port=53)
    return call(
        "read", [3], result=len(message), fd=3, socket=server, blob1=message, who=replace(WHO, uid=uid, time=111)
    )


def test_an_answer_costs_only_the_connections_that_it_names(batch: ReusingBatch) -> None:
    """Otherwise, one user could make the repeated events of all others as expensive as their first."""
    batch.looked_up.receive(answered("first.example", 1001), None, None)
    made = [connected(1), packed.syscall(event=LISTEN, blob1=b""), connected(1, uid=1001)]
    for record in made:
        batch.take(record)

    batch.looked_up.receive(answered("second.example", 1001), None, None)
    batch.looked_up.receive(answered("other.example", 1000, last=8), None, None)
    assert [batch.take(record) for record in made] == [True, True, False]
    # The name is the newest already.
    batch.looked_up.receive(answered("second.example", 1001), None, None)
    assert [batch.take(record) for record in made] == [True, True, True]
    batch.looked_up.receive(answered("all.example", 0), None, None)
    assert [batch.take(record) for record in made] == [False, True, False]

    names = [row["remote_names"] for row, _ in reported(batch.builder)]
    own = "second.example first.example"
    assert names[:3] == [None, None, "first.example"]
    assert names[-3:] == ["all.example", None, f"{own} all.example"]


def test_a_piece_of_an_answer_is_like_no_other(batch: ReusingBatch) -> None:
    """Equal bytes mean something else further on."""
    ends = socket(40_000, 53)
    piece = packed.syscall(event=BY_EVENT["read"].number, result=1, fd=3, socket=ends, blob1=b"\0")

    assert not batch.take(piece)
    assert not batch.take(piece)
