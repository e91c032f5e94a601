"""Server names in ClientHellos of real TLS clients: what the events of their calls have."""

import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator

import pytest

from collector.records.tls import written
from processor.language.event_types import event_types
from processor.language.parser import parse
from processor.pushdown.derive import derive
from tests.live.collector.watching import Watching, watching

RULE = parse("tls.client.server_name exists")
CONNECT = """
import os, socket, ssl, sys
print(os.getpid())
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
"""
SEND = """
import os, socket, sys, time
print(os.getpid())
listening = socket.create_server(("127.0.0.1", 0))
s = socket.create_connection(listening.getsockname())
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
"""
CLIENT = (
    CONNECT
    + """
c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
c.minimum_version = c.maximum_version = ssl.TLSVersion[sys.argv[3]]
c.wrap_socket(s, server_hostname=sys.argv[2])
"""
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Serve TLS on a port of the loopback device."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "1",
            ),
            *("-subj", "/CN=example.org", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                try:
                    client.settimeout(5)
                    with context.wrap_socket(client, server_side=True) as secured:
                        secured.recv(1)
                except OSError:
                    client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.fixture(scope="module")
def watch() -> Iterator[Watching]:
    """Watch what a rule about server names needs."""
    types = event_types(RULE)
    with watching(*types, pushdown_filter=derive([RULE], types)) as running:
        yield running


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_client_of_python_states_the_name_that_it_requests(watch: Watching, server: int, version: str) -> None:
    """OpenSSL's library, both versions."""
    pid = watch.python(CLIENT, str(server), f"{version.lower()}.Example.org", version)

    event = watch.one(proc__pid=pid)

    assert (event["tls.client.server_name"], event["evt.type"]) == (f"{version.lower()}.example.org", "write")
    assert (event["fd.sip"], event["fd.sport"]) == ("127.0.0.1", server)


@pytest.mark.skipif("CI" not in os.environ and shutil.which("openssl") is None, reason="no openssl")
def test_the_program_openssl_states_the_name_that_it_requests(watch: Watching, server: int) -> None:
    """With the key share of a post-quantum group before it, where this version has one."""
    watch.run(
        "openssl",
        "s_client",
        "-connect",
        f"127.0.0.1:{server}",
        "-servername",
        "S-Client.example.org",
        stdin=subprocess.DEVNULL,
    )

    event = watch.one(tls__client__server_name="s-client.example.org")
    assert (event["proc.name"], event["fd.sport"]) == ("openssl", server)


@pytest.mark.parametrize(
    "how",
    [
        "s.send(hello)",
        "os.write(s.fileno(), hello)",
        "os.writev(s.fileno(), [b'', hello[:3], hello[3:9], hello[9:], b'more'])",
        "s.sendmsg([hello[:5], hello[5:60], hello[60:]])",
        "s.sendmsg([hello[:5], hello[5:60]]); time.sleep(0.1); s.send(hello[60:])",
        "[s.send(hello[at:at + 9]) for at in range(0, len(hello), 9)]",
        "s.send(b'EHLO x'); s.send(b'STARTTLS'); s.send(hello); s.send(hello[5:])",
        "s.send(records)",
        "t = socket.create_connection(s.getpeername()); t.send(hello[:60]); s.send(hello[:60]); s.send(hello[60:])",
    ],
    ids=["sendto", "write", "writev", "sendmsg", "two calls", "many calls", "STARTTLS", "records", "two sockets"],
)
def test_a_hello_is_seen_however_it_is_sent(watch: Watching, how: str) -> None:
    """In pieces of memory, in calls one after the other, after another protocol, and in records of a byte."""
    name = f"x{abs(hash(how))}.example.org"
    message = written(name)[5:]
    records = b"".join(b"\x16\3\1\0\1" + message[at : at + 1] for at in range(len(message)))
    pid = watch.python(
        SEND + "hello, records = map(bytes.fromhex, sys.argv[1:])\n" + how, written(name).hex(), records.hex()
    )

    assert [
        event["tls.client.server_name"] for event in watch.events(proc__pid=pid) if event["tls.client.server_name"]
    ] == [name]


def test_a_hostile_hello_has_no_name_and_no_more_than_the_bound(watch: Watching) -> None:
    """One that claims 65,535 bytes and never ends is counted; what looks different isn't sent at all."""
    before = watch.collector.batch.server_names.unreadable
    endless = b"\x16\3\1\x40\0\1\xff\xff\xff\3\3" + bytes(33) + b"\xff\xff"
    pid = watch.python(
        SEND
        + """
endless = bytes.fromhex(sys.argv[1])
u, v = socket.socketpair(); u.send(endless)
s.send(b"GET / HTTP/1.1"); s.send(endless); s.send(bytes(100_000)); s.send(bytes(100_000))
""",
        endless.hex(),
    )

    sent = watch.events(proc__pid=pid)
    assert len(sent) >= 2
    assert {event["tls.client.server_name"] for event in sent} == {None}
    assert max(len(event["evt.buffer"]) for event in sent) <= 80
    assert watch.collector.batch.server_names.unreadable == before + 1


def test_whoever_connected_is_the_client_also_by_the_lower_port(watch: Watching) -> None:
    """And whoever accepted is the server, even if it sends a hello; whatever the ports are."""
    pid, server, client = watch.python(
        """
import json, os, socket, sys
hello = bytes.fromhex(sys.argv[1])
# Above the ports that the kernel chooses.
for port in range(65_535, 61_000, -1):
    try:
        listening = socket.create_server(("127.0.0.1", port))
        break
    except OSError:
        pass
s = socket.create_connection(("127.0.0.1", port))
t, _ = listening.accept()
# A connection outlives the socket that listened.
s.send(hello); t.send(hello); listening.close(); t.send(hello)
print(json.dumps([os.getpid(), port, s.getsockname()[1]]))
""",
        written("roles.example.org").hex(),
    )

    assert client < server
    sent = watch.events(proc__pid=pid)
    assert [(event["fd.is_server"], event["fd.sport"], event["fd.cport"]) for event in sent] == [
        (False, server, client),
        *[(True, server, client)] * 2,
    ]
    assert {event["fd.name"] for event in sent} == {f"127.0.0.1:{client}->127.0.0.1:{server}"}


def test_another_user_who_begins_many_hellos_takes_none_away(watch: Watching) -> None:
    """Three times as many as there is room for in the kernel, while the hello of an honest user is not complete."""
    before = watch.collector.batch.server_names.unreadable
    pid = watch.python(
        SEND
        + """
hello = bytes.fromhex(sys.argv[1])
s.send(hello[:50])
if not (child := os.fork()):
    os.setuid(65534)
    other = socket.create_server(("127.0.0.1", 0))
    for _ in range(3 * 2048):
        with socket.create_connection(other.getsockname()) as begun, other.accept()[0]:
            begun.send(hello[:9])
    os._exit(0)
os.waitpid(child, 0)
s.send(hello[50:])
""",
        written("honest.example.org").hex(),
    )

    assert [event["tls.client.server_name"] for event in watch.events(proc__pid=pid)] == [None, "honest.example.org"]
    assert watch.collector.batch.server_names.unreadable > before + 2048
