"""Names that programs look up at a real name server: what the events of their calls have."""

import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from collector.bpf.program import RingSizes
from collector.kernel_feed import KernelFeed
from collector.records.decode import HEAD
from collector.records.dns import DnsAnswer, written
from processor.language.event_types import event_types
from processor.language.parser import parse
from processor.pushdown.derive import derive
from schemas.catalog.system_calls import ANSWERED
from tests.live.collector.watching import Watching, watching
from tests.live.compiled import Programs, bytecode
from tests.live.needs import io_uring

SERVER = "127.0.0.153"
ALIAS, ADDRESSES = "edge.example.net", {"A": "203.0.113.9", "AAAA": "2001:db8::9"}
HERE = "127.0.0.154"
"""The address of names below .localdomain."""
RULE = parse("dns.question.name exists")
CONNECTED = parse("evt.type=connect and fd.sip.name endswith .localdomain")
ASK = """
import ctypes, os, socket, struct, sys
server, question = sys.argv[1], bytes.fromhex(sys.argv[2])
def tcp(): return socket.create_connection((server, 53))
def udp(family=socket.AF_INET): return socket.socket(family, socket.SOCK_DGRAM)
"""

TCP = "s = tcp(); s.send(bytes([0, len(question)]) + question)"
MANY = """
class Message(ctypes.Structure):
    _fields_ = [(each, ctypes.c_size_t) for each in ("name", "names", "vector", "pieces", "a", "b", "flags", "length")]
number = len(sys.argv) - 1
names, data = (ctypes.c_char * 28 * number)(), (ctypes.c_char * 500 * number)()
pieces = [(ctypes.c_size_t * 2)(ctypes.addressof(each), 500) for each in data]
each = [Message(ctypes.addressof(name), 28, ctypes.addressof(piece), 1) for name, piece in zip(names, pieces)]
s = udp(); s.bind(("127.0.0.1", 0)); s.sendto(b"other", s.getsockname())
for asked in sys.argv[2:]: s.sendto(bytes.fromhex(asked), (server, 53))
assert ctypes.CDLL(None).recvmmsg(s.fileno(), (Message * number)(*each), number, 0, None) == number
"""

MARKED = """
import socket, sys
s = socket.socket(type=socket.SOCK_DGRAM); s.connect((sys.argv[1], 53)); s.send(sys.stdin.buffer.read()); s.recv(500)
"""
CONTENTS = 16384
"""A flag of records."""


def question(name: str) -> bytes:
    """Return a question for an IPv4 address."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + labels + struct.pack(">B2H", 0, 1, 1)


def answered(asked: bytes) -> bytes:
    """Return the answer to a question; names below .invalid don't exist."""
    labels, at = [], 12
    while asked[at]:
        labels.append(asked[at + 1 : at + 1 + asked[at]].decode())
        at += 1 + asked[at]
    kind = {1: "A", 28: "AAAA"}[int.from_bytes(asked[at + 1 : at + 3], "big")]
    name = ".".join(labels).lower()
    if name.endswith(".invalid"):
        return asked[:2] + written(DnsAnswer(name, kind, "NXDOMAIN"))[2:]
    if name.endswith(".localdomain"):
        return asked[:2] + written(DnsAnswer(name, kind, "NOERROR", (HERE,), seconds=60))[2:]
    return asked[:2] + written(DnsAnswer(name, kind, "NOERROR", (ALIAS, ADDRESSES[kind]), seconds=60))[2:]


@pytest.fixture(scope="module")
def name_server() -> Iterator[str]:
    """Answer by UDP and TCP, on an address of the loopback device."""
    with ExitStack() as stack:
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        tcp = stack.enter_context(socket.create_server((SERVER, 53)))
        udp.bind((SERVER, 53))

        def datagrams() -> None:
            while (received := udp.recvfrom(4096))[0]:
                udp.sendto(answered(received[0]), received[1])

        def connections() -> None:
            with suppress(OSError):
                while True:
                    client, _ = tcp.accept()
                    with client:
                        answer = answered(client.recv(4096)[2:])
                        client.sendall(struct.pack(">H", len(answer)) + answer)

        threads = [threading.Thread(target=each) for each in (datagrams, connections)]
        for thread in threads:
            thread.start()
        yield SERVER
        for each in (udp, tcp):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)


@pytest.fixture(scope="module")
def watch() -> Iterator[Watching]:
    """Watch what a rule about names needs."""
    types = event_types(RULE)
    with watching(*types, pushdown_filter=derive([RULE], types)) as running:
        yield running


def test_a_program_with_a_resolver_of_its_own_looks_up_both_families(
    watch: Watching, name_server: str, tmp_path: Path
) -> None:
    """Getaddrinfo of glibc, in a mount namespace where resolv.conf is another one."""
    (tmp_path / "resolv.conf").write_text(f"nameserver {name_server}\n")
    mount = f"mount --bind {tmp_path}/resolv.conf /etc/resolv.conf"
    watch.run("unshare", "-m", "sh", "-c", f"{mount} && exec getent ahosts Getent.Example.org")

    found = {event["dns.question.type"]: event for event in watch.events(dns__question__name="getent.example.org")}

    assert {kind: event["dns.answers"] for kind, event in found.items()} == {
        kind: f"{ALIAS} {address}" for kind, address in ADDRESSES.items()
    }
    assert {(event["proc.name"], event["fd.sip"], event["fd.sport"]) for event in found.values()} == {
        ("getent", name_server, 53)
    }


@pytest.mark.parametrize(
    "how",
    [
        "s = udp(); s.connect((server, 53)); s.send(question); os.read(s.fileno(), 4096)",
        "s = udp(); s.sendto(question, (server, 53)); s.recvfrom(4096)",
        "s = udp(); s.sendto(question, (server, 53)); s.recvmsg(4096)",
        "s = udp(socket.AF_INET6); s.sendto(question, (f'::ffff:{server}', 53)); s.recvmsg(4096)",
        "s = udp(); s.connect((server, 53)); s.send(question); os.readv(s.fileno(), [bytearray(9), bytearray(99)])",
        "s = udp(); s.sendto(question, (server, 53)); s.recvmsg_into([bytearray(n) for n in (1, 9, 99)])",
        f"{TCP}; s.recv(2); s.recv(99)",
        f"{TCP}; os.readv(s.fileno(), [bytearray(2), bytearray(99)])",
        f"{TCP}; [s.recv(n) for n in (1, 1, 9, 1, 99)]",
    ],
    ids=["read", "recvfrom", "recvmsg", "mapped", "readv", "pieces", "tcp", "tcp readv", "tcp in pieces"],
)
def test_an_answer_is_seen_by_whichever_call_receives_it(watch: Watching, name_server: str, how: str) -> None:
    """Connected sockets and others, UDP and TCP, IPv4 and IPv6."""
    name = f"x{abs(hash(how))}.example.invalid"
    watch.python(ASK + how, name_server, question(name).hex())

    event = watch.one(dns__question__name=name)

    assert (event["dns.question.type"], event["dns.response_code"], event["dns.answers"]) == ("A", "NXDOMAIN", None)
    assert (event["fd.rip"], event["fd.rport"]) == (name_server, 53)


def test_each_of_several_answers_that_a_call_receives_is_an_event(watch: Watching, name_server: str) -> None:
    """Those among the first eight messages of recvmmsg; the first is from elsewhere here."""
    names = [f"x{number}.example.invalid" for number in range(9)]
    watch.python(ASK + MANY, name_server, *(question(name).hex() for name in names))

    found = [event for event in watch.all() if event["dns.question.name"] in names]
    assert [event["dns.question.name"] for event in found] == names[:7]
    assert {(event["evt.type"], event["fd.rip"]) for event in found} == {("recvmmsg", name_server)}


@pytest.mark.parametrize(("way", "variant"), [("recv", "plain"), ("recvmsg", "worker"), ("read", "polled")])
def test_an_answer_that_io_uring_receives_is_seen(
    watch: Watching, name_server: str, tmp_path: Path, way: str, variant: str
) -> None:
    """By the program, by a thread of the kernel that works for it, and without any call."""
    io_uring()
    program = Programs(tmp_path)("io_uring_acts", static=True)
    (tmp_path / "question").write_bytes(question(f"{way}.example.org"))
    with (tmp_path / "question").open("rb") as asked:
        watch.run(program, variant, "answer", way, name_server, stdin=asked)

    event = watch.one(dns__question__name=f"{way}.example.org")

    assert (event["evt.io_uring"], event["fd.rip"], event["proc.exepath"]) == (True, name_server, program)
    assert event["dns.answers"] == f"{ALIAS} {ADDRESSES['A']}"


@pytest.mark.parametrize("is_io_uring", [False, True])
def test_the_kernel_side_marks_answers(name_server: str, tmp_path: Path, *, is_io_uring: bool) -> None:
    """By this mark, thousands of them wake nobody."""
    command: list[str | Path] = [sys.executable, "-I", "-c", MARKED, name_server]
    if is_io_uring:
        io_uring()
        command = [Programs(tmp_path)("io_uring_acts", static=True), "plain", "answer", "recv", name_server]
    types = event_types(RULE)
    feed = KernelFeed.open(types, bytecode(), RingSizes(), pushdown_filter=derive([RULE], types))
    try:
        subprocess.run(command, input=question("marked.example.org"), check=True)
        found = [record for records in feed.drain() for record in records if b"\6marked" in record]
    finally:
        feed.close()
    assert [int.from_bytes(record[HEAD.span("flags")], "little") & CONTENTS for record in found] == [CONTENTS]


def test_what_does_not_come_from_a_name_server_stays_in_the_kernel(watch: Watching, name_server: str) -> None:
    """The same bytes from another port, by the same calls."""
    pid = watch.python(
        ASK
        + """
a, b = udp(), udp(); a.bind(("127.0.0.1", 0)); b.connect(a.getsockname()); a.sendto(question, b.getsockname())
os.read(b.fileno(), 4096); a.sendto(question, b.getsockname()); b.recvmsg(4096)
print(os.getpid())
""",
        name_server,
        question("other.example.org").hex(),
    )

    assert not watch.events(proc__pid=pid)
    assert not watch.collector.batch.looked_up.unreadable


def test_a_connection_has_the_name_that_its_user_looked_up(name_server: str) -> None:
    """What a user was answered counts for nobody else; what root was answered counts for all."""
    types = event_types(CONNECTED) | frozenset(ANSWERED)
    look_up = "s = udp(); s.connect((server, 53)); s.send(question); s.recv(4096)\n"
    connect = "s = udp(); s.connect((sys.argv[3], 9)); print(os.getpid())"
    asked = [question(f"{name}.localdomain").hex() for name in ("first", "second")]
    with watching(*types, pushdown_filter=derive([CONNECTED], types, names=True)) as watch:

        def names(question: str, user: int, *, code: str = connect) -> str | None:
            pid = watch.python(ASK + code, name_server, question, HERE, user=user)
            return watch.one(proc__pid=pid, evt__type="connect", fd__sip=HERE)["fd.sip.name"]

        assert names(asked[0], 65_534, code=look_up + connect) == "first.localdomain"
        assert names("", 65_534) == "first.localdomain"
        assert names("", 65_533) is None
        assert names(asked[1], 0, code=look_up + connect) == "second.localdomain"
        assert names("", 65_533) == "second.localdomain"
        # Fields have one of several names: a user's own comes first.
        assert names("", 65_534) == "first.localdomain"
