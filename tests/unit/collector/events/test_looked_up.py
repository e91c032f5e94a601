"""Names of addresses, from what each user of a host looked up."""

import struct
from dataclasses import replace

import pytest

from collector.events.network_names import GRACE, MAX_ADDRESSES, MAX_NAMES, MAX_STREAMS, MAX_USERS, LookedUpNames
from collector.processes.container_names import claimed_container, container_of
from collector.records.dns import DnsAnswer, written
from collector.records.types import Syscall
from tests.unit.collector.calls import WHO, call, sock

SECOND = 10**9
ROOT, ANN, BOB = 0, 1000, 1001
C1, C2 = (f"/system.slice/docker-{digit * 64}.scope" for digit in "12")
EACH = 32
"""Addresses of an answer that names many."""
SERVER = sock(type=2, protocol=17, remote_ip="127.0.0.53", remote_port=53)


def answer(name: str, *addresses: str, uid: int = ANN, time: int = 0) -> Syscall:
    """Return a call that receives an answer with a time to live of a minute. time: s."""
    message = written(DnsAnswer(name, "A", "NOERROR", addresses, seconds=60))
    who = replace(WHO, uid=uid, time=time * SECOND)
    return call("recvfrom", [3], result=len(message), fd=3, socket=SERVER, blob1=message, who=who)


def receive(
    names: LookedUpNames,
    name: str,
    *addresses: str,
    user: str = "ann",
    container: str = "",
    uid: int = ANN,
    time: int = 0,
) -> list[str]:
    """Receive an answer. container: its cgroup."""
    return names.receive(answer(name, *addresses, uid=uid, time=time), container_of(container), user)


def of(names: LookedUpNames, address: str, uid: int = ANN, time: int = 0, container: str = "") -> str | None:
    """Return the names of an address for a user at a time, in seconds."""
    asking: Syscall = call("connect", who=replace(WHO, uid=uid, time=time * SECOND))
    reader = names.reader(asking, container_of(container))
    return None if reader is None else reader(address)


def total(names: LookedUpNames) -> int:
    """Return the number of addresses that are stored."""
    found = sum(len(addresses) for users in names._known.values() for addresses in users.values())
    assert found == names._count == sum(names._counts.values())
    return found


def test_the_newest_name_of_an_address_comes_first() -> None:
    """Many names have one address; aliases are followed to the name in the question."""
    names = LookedUpNames()
    assert of(names, "192.0.2.1") is None
    receive(names, "a.example", "edge.example.net", "192.0.2.1", "192.0.2.2")
    receive(names, "b.example", "192.0.2.1")
    assert (of(names, "192.0.2.1"), of(names, "192.0.2.2")) == ("b.example a.example", "a.example")

    receive(names, "a.example", "192.0.2.1")
    assert of(names, "192.0.2.1") == "a.example b.example"
    assert of(names, "192.0.2.3") is None

    for number in range(2 * MAX_NAMES):
        receive(names, f"x{number}.example", "192.0.2.1")
    assert len((of(names, "192.0.2.1") or "").split(" ")) == MAX_NAMES


def test_a_name_counts_for_its_time_to_live_and_some_minutes() -> None:
    """Programs store addresses for longer than they should."""
    names = LookedUpNames()
    receive(names, "a.example", "192.0.2.1", time=100)

    assert of(names, "192.0.2.1", time=160 + GRACE) == "a.example"
    assert of(names, "192.0.2.1", time=161 + GRACE) is None


def test_an_equal_answer_counts_again_for_whoever_receives_it() -> None:
    """It is parsed once; its id, by which a program finds its question, is another."""
    names = LookedUpNames()
    first = answer("a.example", "192.0.2.1", time=100)
    again = replace(first, blob1=b"\7\7" + first.blob1[2:], who=replace(first.who, uid=BOB, time=500 * SECOND))

    found = [names.receive(each, None, None) for each in (first, again)]

    assert found == [["a.example A NOERROR 192.0.2.1"]] * 2
    assert [of(names, "192.0.2.1", uid=uid, time=560 + GRACE) for uid in (ANN, BOB)] == [None, "a.example"]


def test_an_answer_counts_for_whoever_received_it() -> None:
    """A user who answers himself names addresses for nobody else, and no container does for another."""
    names = LookedUpNames()
    receive(names, "good.example", "192.0.2.66", uid=BOB)
    receive(names, "inside.example", "192.0.2.66", uid=ROOT, container=C1)

    assert [of(names, "192.0.2.66", uid=uid) for uid in (ROOT, ANN, BOB)] == [None, None, "good.example"]
    assert of(names, "192.0.2.66", uid=ROOT, container=C1) == "inside.example"
    assert of(names, "192.0.2.66", uid=ROOT, container=C2) is None


def test_what_the_host_s_resolver_receives_counts_for_all() -> None:
    """Programs that ask a daemon by a unix socket receive no answer themselves."""
    names = LookedUpNames()
    receive(names, "a.example", "192.0.2.1", uid=ROOT, user="root")
    receive(names, "b.example", "192.0.2.2", uid=990, user="systemd-resolve")
    receive(names, "c.example", "192.0.2.3", uid=990, user="systemd-resolve", container=C1)

    assert [of(names, f"192.0.2.{last}") for last in (1, 2, 3)] == ["a.example", "b.example", None]
    assert of(names, "192.0.2.1", uid=5, container=C2) == "a.example"


def test_a_user_pushes_out_no_names_but_their_own() -> None:
    """Whoever has most loses the oldest; the ids from 65,536 on may be one user's."""
    names = LookedUpNames()
    receive(names, "a.example", "192.0.2.1")
    for number in range(MAX_ADDRESSES // EACH + 2):
        addresses = [f"10.{number >> 4}.{number & 15}.{last}" for last in range(EACH)]
        receive(names, "b.example", *addresses, uid=100_000 + number % 100)

    assert of(names, "192.0.2.1") == "a.example"
    assert of(names, addresses[-1], uid=131_071) == "b.example"
    assert of(names, "10.0.0.0", uid=131_071) is None
    assert 7 * MAX_ADDRESSES // 8 <= total(names) <= MAX_ADDRESSES


def test_what_a_user_claims_to_be_a_container_is_an_account_of_theirs() -> None:
    """Otherwise each cgroup with such a name would be one more, and its list of users could name a resolver."""
    names = LookedUpNames()
    for number in range(3):
        claimed = claimed_container(f"/user.slice/user-1000.slice/user@1000.service/docker-{number:064x}.scope")
        names.receive(answer(f"{number}.example", "192.0.2.1"), claimed, "systemd-resolve")

    assert of(names, "192.0.2.1") == "2.example 1.example 0.example"
    assert of(names, "192.0.2.1", uid=BOB) is None


def test_a_container_in_a_container_is_one_with_it() -> None:
    """Whoever is root of the outer one makes the inner ones."""
    names = LookedUpNames()
    receive(names, "a.example", "192.0.2.1", container=f"{C1}/docker/{'3' * 64}")

    assert of(names, "192.0.2.1", container=C1) == "a.example"
    assert of(names, "192.0.2.1") is None


def test_what_is_no_answer_is_counted() -> None:
    """From port 53, too short."""
    names = LookedUpNames()
    cut = call(
        "recvfrom", [3], result=30, fd=3, socket=SERVER, blob1=written(DnsAnswer("a.example", "A", "NOERROR"))[:20]
    )

    assert names.receive(cut, None, None) == []
    assert names.unreadable == 1
    assert names.receive(replace(cut, result=0), None, None) == []
    assert names.unreadable == 1


def test_no_user_of_a_container_pushes_out_names_of_others() -> None:
    """Its root can be any user, and each has few addresses: what counts is what the container has."""
    names = LookedUpNames()
    for last in range(100):
        receive(names, "a.example", f"192.0.2.{last}")
    for number in range(MAX_ADDRESSES + EACH):
        receive(names, "b.example", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", uid=number, container=C1)

    assert of(names, "192.0.2.0") == "a.example"
    assert max(map(len, names._known.values())) == MAX_USERS
    total(names)


@pytest.mark.parametrize(("local_port", "name"), [(53, None), (123, None), (40_000, "a.example")])
def test_what_anyone_sends_to_a_server_names_nothing(local_port: int, name: str | None) -> None:
    """A datagram from port 53 of any machine is an answer in form; the program asked nothing."""
    sent = answer("a.example", "192.0.2.1")
    sender = struct.pack(">HH4s8x", 0x0200, 53, bytes([198, 51, 100, 7]))
    sent = replace(sent, socket=sock(type=2, protocol=17, local_port=local_port), blob2=sender)
    names = LookedUpNames()

    assert names.receive(sent, None, "dnsmasq") == ["a.example A NOERROR 192.0.2.1"]
    assert of(names, "192.0.2.1") == name


def test_what_a_daemon_of_root_receives_from_anyone_counts_for_root_alone() -> None:
    """A socket that is not connected takes datagrams of all; those of resolvers have to."""
    sent = answer("a.example", "192.0.2.1", uid=ROOT)
    sender = struct.pack("<H", 2) + struct.pack(">H4s8x", 53, bytes([198, 51, 100, 7]))
    sent = replace(sent, socket=sock(type=2, protocol=17, local_port=40_000), blob2=sender)
    names = LookedUpNames()
    names.receive(sent, None, "root")

    assert (of(names, "192.0.2.1", uid=ROOT), of(names, "192.0.2.1")) == ("a.example", None)


def test_a_name_that_no_host_can_have_is_not_stored() -> None:
    """Escaped, it takes four times as much memory; the event has it."""
    odd = DnsAnswer(".".join(["x" * 63] * 3), "A", "NOERROR", ("192.0.2.1",))
    message = written(odd).replace(b"x", b"\xff")
    names = LookedUpNames()
    found = names.receive(call("read", [3], result=300, fd=3, socket=SERVER, blob1=message), None, None)

    assert found[0].startswith("\\255\\255")
    assert not names.is_used


STREAM = replace(SERVER, type=1, protocol=6, local_port=40_000)
FIRST, SECOND_TEXT = "a.example A NOERROR 192.0.2.1", "b.example A NOERROR 192.0.2.2"
MESSAGES = b"".join(
    struct.pack(">H", len(message)) + message
    for message in (written(DnsAnswer(text[:9], "A", "NOERROR", (text.split()[-1],))) for text in (FIRST, SECOND_TEXT))
)
AT = len(MESSAGES) // 2
"""Where the second message begins."""


def pieces(names: LookedUpNames, *sizes: int, most: int = 1023, port: int = 40_000, uid: int = ANN) -> list[list[str]]:
    """Receive both messages in pieces, and return what each is answered by. most: bytes read of each."""
    found, at = [], 0
    for size in sizes:
        data = MESSAGES[at : at + size]
        at += size
        who = replace(WHO, uid=uid)
        read = call("read", [3], result=size, fd=3, socket=replace(STREAM, local_port=port), blob1=data[:most], who=who)
        found.append(names.receive(read, None, None))
    return found


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((2, AT - 2, 2, AT - 2), [[], [FIRST], [], [SECOND_TEXT]]),
        ((AT, AT), [[FIRST], [SECOND_TEXT]]),
        ((2 * AT,), [[FIRST, SECOND_TEXT]]),
        ((1, 1, 3, AT - 4, AT - 1), [[], [], [], [FIRST], [SECOND_TEXT]]),
        ((AT + 1, AT - 1), [[FIRST], [SECOND_TEXT]]),
        ((AT + 20, AT - 20), [[FIRST], [SECOND_TEXT]]),
    ],
    ids=["length first", "whole", "both", "tiny", "length split", "more"],
)
def test_an_answer_in_a_stream_is_seen_however_it_is_read(sizes: tuple[int, ...], expected: list[list[str]]) -> None:
    """Two bytes have the length of a message; most programs read them first."""
    names = LookedUpNames()

    assert pieces(names, *sizes) == expected
    assert names.unreadable == 0
    assert not names._streams


def test_what_recvmmsg_receives_of_a_stream_is_counted_in_bytes() -> None:
    """Its result is the number of messages."""
    names = LookedUpNames()
    read = call("recvmmsg", [3], result=1, fd=3, socket=STREAM, blob1=MESSAGES[:AT])

    assert names.receive(read, None, None) == [FIRST]
    assert not names._streams


def test_a_stream_that_began_before_lanner_is_understood_from_a_message_on() -> None:
    """Its length was received before."""
    names = LookedUpNames()
    read = call("read", [3], result=AT - 2, fd=3, socket=STREAM, blob1=MESSAGES[2:AT])

    assert names.receive(read, None, None) == [FIRST]
    assert pieces(names, 2, AT - 2) == [[], [FIRST]]


def test_of_a_long_message_the_beginning_is_enough() -> None:
    """The kernel side reads a part of each piece; the next message is understood again."""
    names, long = LookedUpNames(), MESSAGES[2:AT] + bytes(4000)
    stream = struct.pack(">H", len(long)) + long + MESSAGES[AT:]
    found = []
    for at, size in ((0, 2), (2, 2000), (2002, len(long) - 2000), (2 + len(long), AT)):
        data = stream[at : at + min(size, 1023)]
        found += names.receive(call("read", [3], result=size, fd=3, socket=STREAM, blob1=data), None, None)

    assert found == [FIRST, SECOND_TEXT]


def test_messages_that_are_not_read_to_the_end_are_bounded() -> None:
    """Each user has a few, and each container as many users as there are at most."""
    names = LookedUpNames()
    pieces(names, 20, port=50_000)
    for number in range(3 * MAX_STREAMS):
        pieces(names, 20, port=1024 + number, uid=BOB)
    for number in range(MAX_USERS + 9):
        begun = call("read", [3], result=2, fd=3, socket=STREAM, blob1=b"\0\x20", who=replace(WHO, uid=number))
        names.receive(begun, container_of(C1), None)

    assert [len(names._streams["", uid]) for uid in (ANN, BOB)] == [1, MAX_STREAMS]
    assert len(names._streams) == MAX_USERS


def test_a_change_of_names_is_announced_for_the_address_and_the_account_alone() -> None:
    """What is answered again with the same name changes nothing."""
    changes: list[object] = []
    names = LookedUpNames(lambda account, address: changes.append((account, address)))
    for name in ("a.example", "a.example", "b.example", "a.example"):
        receive(names, name, "192.0.2.1", time=1)
    receive(names, "a.example", "192.0.2.1", time=2 * GRACE)
    receive(names, "a.example", "192.0.2.1", uid=ROOT, user="root")

    assert changes == [*[(("", ANN), "192.0.2.1")] * 4, (None, "192.0.2.1")]
