"""Both sides of a socket equal the results of getsockname and getpeername."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.collector.watching import Event, Watching, watching
from tests.live.compiled import Programs

EVENTS = (
    *("socket", "bind", "listen", "accept", "accept4", "connect", "sendto", "recvfrom", "sendmsg", "recvmsg"),
    *("dup2", "dup3", "shutdown", "close"),
)
PRELUDE = """
import json, os, socket, sys
def serve_below_the_ephemeral_ports():
    for port in range(20000 + os.getpid() % 10000, 32000):
        server = socket.socket()
        try:
            server.bind(("127.0.0.1", port)); server.listen(1)
        except OSError:
            continue
        return server
def say(**facts): print(json.dumps({"pid": os.getpid(), **facts}))
"""


@pytest.fixture(scope="module")
def watch() -> Iterator[Watching]:
    """Watch socket events."""
    with watching(*EVENTS) as running:
        yield running


@pytest.mark.parametrize(("family", "address", "kind"), [("AF_INET", "127.0.0.1", "ipv4"), ("AF_INET6", "::1", "ipv6")])
def test_a_tcp_connection_is_reported_by_both_sides(watch: Watching, family: str, address: str, kind: str) -> None:
    """Addresses, ports, protocol, roles and the name that joins them."""
    truth = watch.python(
        PRELUDE
        + f"""
server = socket.socket(socket.{family}); server.bind(("{address}", 0)); server.listen(3)
client = socket.socket(socket.{family}); client.connect(server.getsockname()[:2])
peer, _ = server.accept()
client.shutdown(socket.SHUT_WR)
say(server=server.getsockname()[:2], client=client.getsockname()[:2])
"""
    )
    (server_ip, server_port), (client_ip, client_port) = truth["server"], truth["client"]

    connect = watch.one(proc__pid=truth["pid"], evt__type="connect")
    accept = watch.one(proc__pid=truth["pid"], evt__type="accept4")

    for event in (connect, accept):
        assert (event["fd.type"], event["fd.l4proto"], event["fd.sockfamily"]) == (kind, "tcp", "ip")
        assert (event["fd.cip"], event["fd.cport"]) == (client_ip, client_port)
        assert (event["fd.sip"], event["fd.sport"]) == (server_ip, server_port)
        assert event["fd.name"] == f"{client_ip}:{client_port}->{server_ip}:{server_port}"
    assert (connect["fd.lip"], connect["fd.lport"]) == (client_ip, client_port)
    assert (connect["fd.rip"], connect["fd.rport"]) == (server_ip, server_port)
    assert (accept["fd.lip"], accept["fd.lport"]) == (server_ip, server_port)
    assert (accept["fd.rip"], accept["fd.rport"]) == (client_ip, client_port)
    assert (connect["fd.is_server"], accept["fd.is_server"]) == (False, True)
    assert connect["fd.connected"] is True
    listen = watch.one(proc__pid=truth["pid"], evt__type="listen")
    assert (listen["fd.sip"], listen["fd.sport"]) == (server_ip, server_port)
    shutdown = watch.one(proc__pid=truth["pid"], evt__type="shutdown")
    # The kernel no longer knows which side is the server: the ports are right, the roles a guess.
    assert {shutdown["fd.lport"], shutdown["fd.rport"]} == {server_port, client_port}
    assert shutdown["evt.arg.how"] == "SHUT_WR"


def test_a_refused_connection_still_names_where_to(watch: Watching) -> None:
    """The address of a failed call comes from its argument."""
    truth = watch.python(PRELUDE + 's = socket.socket(); s.connect_ex(("127.0.0.1", 1)); say()')

    event = watch.one(proc__pid=truth["pid"], evt__type="connect")

    assert event["evt.res"] == "ECONNREFUSED"
    assert (event["fd.sip"], event["fd.sport"]) == ("127.0.0.1", 1)
    assert event["evt.arg.addr"] == "127.0.0.1:1"


def test_a_datagram_to_an_address_reports_it(watch: Watching) -> None:
    """A socket that is not connected shows the address of the call."""
    truth = watch.python(
        PRELUDE
        + """
inbox = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); inbox.bind(("127.0.0.1", 0))
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); out.sendto(b"hello", inbox.getsockname())
inbox.recvfrom(100)
say(to=inbox.getsockname(), by=out.getsockname())
"""
    )

    send = watch.one(proc__pid=truth["pid"], evt__type="sendto")

    assert (send["fd.rip"], send["fd.rport"]) == ("127.0.0.1", truth["to"][1])
    assert send["fd.l4proto"] == "udp"
    assert send["evt.buffer"] == "hello"
    assert send["fd.connected"] is False
    receive = watch.one(proc__pid=truth["pid"], evt__type="recvfrom")
    assert receive["fd.rport"] == truth["by"][1]


def test_unix_sockets_are_reported_by_path_and_abstract_name(watch: Watching) -> None:
    """Both kinds of name in their usual form."""
    truth = watch.python(
        PRELUDE
        + """
import tempfile
path = tempfile.mkdtemp() + "/s"
a = socket.socket(socket.AF_UNIX); a.bind(path); a.listen(1)
b = socket.socket(socket.AF_UNIX); b.connect(path)
c = socket.socket(socket.AF_UNIX); c.bind("\\0lanner-abstract-test")
say(path=path)
"""
    )

    connect = watch.one(proc__pid=truth["pid"], evt__type="connect")
    assert (connect["fd.type"], connect["fd.typechar"]) == ("unix", "u")
    assert connect["fd.name"] == truth["path"]
    names = {event["fd.name"] for event in watch.events(proc__pid=truth["pid"], evt__type="bind")}
    assert names == {truth["path"], "@lanner-abstract-test"}


def test_a_socket_put_on_standard_input_is_seen_as_a_socket(watch: Watching) -> None:
    """The last step of a reverse shell: dup2 of a connected socket onto 0."""
    truth = watch.python(
        PRELUDE
        + """
server = serve_below_the_ephemeral_ports()
client = socket.socket(); client.connect(server.getsockname())
os.dup2(client.fileno(), 0)
say(server=server.getsockname())
"""
    )

    event: Event = next(
        e for e in watch.events(proc__pid=truth["pid"]) if e["evt.type"] in ("dup2", "dup3") and e["evt.rawres"] == 0
    )

    assert (event["fd.type"], event["fd.num"], event["fd.l4proto"]) == ("ipv4", 0, "tcp")
    assert (event["fd.sip"], event["fd.sport"]) == tuple(truth["server"])


def test_a_connection_by_the_32_bit_multiplexer_is_reported(watch: Watching, tmp_path: Path) -> None:
    """The call is hidden behind a pointer, and is found there."""
    program = Programs(tmp_path)("socketcall32", bits=32, static=True)
    watch.run(program, "1")

    event = watch.one(proc__name="socketcall32-32"[:15], evt__type="connect")

    assert (event["fd.sip"], event["fd.sport"]) == ("127.0.0.1", 1)
    assert event["evt.res"] == "ECONNREFUSED"
