"""Server names in what programs send, by one call or by several."""

from dataclasses import replace

import pytest

from collector.events.network_names import MAX_HELLO_CALLS, MAX_OPEN_HELLOS, ServerNames
from collector.processes.container_names import container_of
from collector.records.tls import MAX_BYTES, written
from collector.records.types import Syscall
from tests.unit.collector.calls import WHO, call, sock

SERVER = sock(remote_ip="192.0.2.7", remote_port=443)
HELLO = written("www.example.org")


def sent(data: bytes, inode: int = 1, event: str = "write", result: int | None = None, uid: int = 0) -> Syscall:
    """Return a call that sends data by a socket with this inode."""
    size = len(data) if result is None else result
    return call(event, [3], result=size, fd=3, socket=SERVER, blob1=data, who=replace(WHO, uid=uid), socket_inode=inode)


@pytest.mark.parametrize("event", ["write", "writev", "send", "sendto", "sendmsg", "sendmmsg"])
def test_a_call_has_the_name_in_the_hello_that_it_sends(event: str) -> None:
    """Whichever call sends."""
    assert ServerNames().receive(sent(HELLO, event=event)) == ("www.example.org", True)


def test_other_calls_and_sockets_send_no_hello() -> None:
    """The same bytes received, by UDP, a unix socket or io_uring, by a call that failed, and other bytes."""
    names, one = ServerNames(), sent(HELLO)
    others = [
        sent(HELLO, event="read"),
        *(replace(one, socket=each) for each in (None, sock(1), sock(protocol=17, type=2))),
        sent(HELLO, result=-11),
        replace(one, is_io_uring=True),
        sent(b"GET / HTTP/1.1"),
        sent(b""),
    ]
    assert [names.receive(each) for each in others] == [(None, False)] * len(others)
    assert not names.unreadable


def test_the_call_that_completes_a_hello_has_its_name() -> None:
    """Parts on several sockets at a time; what follows on the socket is no hello."""
    names = ServerNames()
    for inode in (1, 2):
        assert names.receive(sent(HELLO[:1], inode)) == (None, True)
    assert names.receive(sent(HELLO[1:20])) == (None, True)
    assert names.receive(sent(HELLO[20:])) == ("www.example.org", True)
    assert names.receive(sent(b"more")) == (None, False)
    assert names.receive(sent(HELLO[1:], 2, "writev")) == ("www.example.org", True)
    assert not names.unreadable


def test_what_stays_without_a_name_is_counted() -> None:
    """Malformed, longer than what is read, in too many pieces, or too many at a time."""
    names = ServerNames()
    assert names.receive(sent(HELLO[:-4] + bytes(4) + b"x" * 9)) == ("www.example\\000\\000\\000\\000", True)
    assert names.receive(sent(b"\x16\3\1\0\5\1\0\0\1\0")) == (None, True)
    assert names.unreadable == 1

    endless = b"\x16\3\1\x40\0\1\0\xff\xff\3\3" + bytes(33) + b"\xff\xff"
    names.receive(sent(endless + bytes(MAX_BYTES)))
    assert names.unreadable == 2
    for at in range(MAX_HELLO_CALLS):
        names.receive(sent(HELLO[at : at + 1]))
    assert names.unreadable == 3
    for inode in range(MAX_OPEN_HELLOS + 1):
        names.receive(sent(HELLO[:50], inode))
    assert names.unreadable == 3 + MAX_OPEN_HELLOS // 8 + 1


@pytest.mark.parametrize("is_in_container", [False, True], ids=["a user", "root of a container"])
def test_whoever_begins_many_hellos_takes_no_room_of_others(is_in_container: bool) -> None:
    """Neither by many sockets, nor by many users in one container or of one user's block."""
    names, container = ServerNames(), container_of("/docker/" + "1" * 64) if is_in_container else None
    for inode in (1, 2):
        assert names.receive(sent(HELLO[:50], inode, uid=1000 + inode)) == (None, True)

    for inode in range(3, 3 * MAX_OPEN_HELLOS):
        uid = inode if is_in_container else 100_000 + inode
        assert names.receive(sent(HELLO[:50], inode, uid=uid), container) == (None, True)

    assert [names.receive(sent(HELLO[50:], inode)) for inode in (1, 2)] == [("www.example.org", True)] * 2
    assert names.receive(sent(HELLO[50:], 3 * MAX_OPEN_HELLOS - 1), container) == ("www.example.org", True)
