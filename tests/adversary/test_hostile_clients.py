"""Clients without any right that hold connections of the servers which they can reach, while others have work to do."""

import http.client
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from foundation.text import ignore_note
from lanner.operations.server import TEXT, Server
from notifier.intake import IntakeServer, into_outboxes
from notifier.outbox import Outbox
from notifier.sink import RoutedAlert
from processor.output.redaction import Redaction
from tests.adversary.crowd import crowd
from tests.live.needs import lacking
from tests.live.notifier.certificates import Certificates, make_certificates
from tests.unit.alerts import alert
from tests.unit.lanner.console.server.conftest import Serve, serve
from tests.unit.lanner.console.server.running import Served
from tests.unit.notifier.formats.test_falco import falco

__all__ = ["serve"]
REQUESTS = 10
NOBODY = 65534
HALF_HEADERS = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Le"
HALF_BODY = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
LIVE = b"GET /api/live HTTP/1.1\r\nHost: x\r\n\r\n"
UNREAD = b"GET /static/console.css HTTP/1.1\r\nHost: x\r\n\r\n" * 30


def answers(ask: Callable[[], int]) -> list[int]:
    """Return the status of each of several requests; 0 for no answer."""
    found = []
    for _ in range(REQUESTS):
        try:
            found.append(ask())
        except (OSError, http.client.HTTPException):
            found.append(0)
    return found


def post(client: http.client.HTTPConnection, headers: dict[str, str] | None = None, *, closes: bool = True) -> int:
    """Post an alert, and close the connection."""
    client.request("POST", "/", falco(), headers or {})
    answer = client.getresponse()
    answer.read()
    if closes:
        client.close()
    return answer.status


@pytest.fixture(autouse=True)
def _root() -> None:
    """Skip what an ordinary user can't start."""
    if os.geteuid() != 0:
        lacking("connections of other users need root")


@contextmanager
def intake(folder: Path, **options: object) -> Iterator[IntakeServer]:
    """Run an intake of alerts."""
    bus = partial(into_outboxes, [(Outbox(folder / "slack.outbox.db", capacity=100), RoutedAlert)])
    made = IntakeServer(bus, alert, prepare=Redaction().alert, report=ignore_note, **options)  # type: ignore[arg-type]
    made.start("127.0.0.1", 0)
    yield made
    made.stop(5)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Make the certificates of a server and its client."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("sent", [b"", HALF_HEADERS, HALF_BODY])
def test_unfinished_requests_keep_no_sender_out(sent: bytes, tmp_path: Path) -> None:
    """The connections of one client make room for others, also for itself, and the metric counts them."""
    with intake(tmp_path) as made, crowd(made.port, 300, sent):
        assert answers(lambda: post(http.client.HTTPConnection("127.0.0.1", made.port, timeout=5))) == [200] * REQUESTS
        assert made.closed["evicted"] >= 300 - 192
        assert made.closed["refused"] == 0


def test_a_sender_with_the_token_keeps_its_connection(tmp_path: Path) -> None:
    """A part of the connections is only for those who have shown it."""
    with intake(tmp_path, token="made up") as made:
        client = http.client.HTTPConnection("127.0.0.1", made.port, timeout=5)
        headers = {"Authorization": "Bearer made up"}
        assert post(client, headers, closes=False) == 200
        own = client.sock
        with crowd(made.port, 300, HALF_HEADERS):
            assert answers(lambda: post(client, headers, closes=False)) == [200] * REQUESTS
        assert client.sock is own
        client.close()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_unfinished_handshakes_keep_no_sender_with_a_certificate_out(
    share: float, tmp_path: Path, certificates: Certificates
) -> None:
    """Another user without a certificate sends nothing, stops within its hello, or never answers the server's."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    hello = outgoing.read()
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(certificates.server, certificates.server_key)
    ours.load_verify_locations(certificates.authority)
    ours.verify_mode = ssl.CERT_REQUIRED
    theirs = ssl.create_default_context(cafile=certificates.authority)
    theirs.load_cert_chain(certificates.client, certificates.client_key)
    with intake(tmp_path, context=ours) as made, crowd(made.port, 300, hello[: int(len(hello) * share)], NOBODY):
        ask = partial(http.client.HTTPSConnection, "localhost", made.port, context=theirs, timeout=5)
        assert answers(lambda: post(ask())) == [200] * REQUESTS


@pytest.mark.parametrize("sent", [b"", UNREAD, LIVE])
def test_another_user_of_the_host_keeps_nobody_from_the_console(sent: bytes, serve: Serve) -> None:
    """Neither with idle connections, nor with answers that it doesn't read, nor with live updates."""
    made: Served = serve()
    with crowd(made.port, 520, sent, NOBODY):
        assert answers(lambda: made.ask("/api/groups").status) == [200] * REQUESTS
        assert live(made.port)[0] == 200


def test_one_user_gets_a_few_of_the_live_updates(serve: Serve) -> None:
    """Beyond them, the answer has the reason; another user gets them, and the metric counts what was refused."""
    made: Served = serve()
    with crowd(made.port, 20, LIVE, NOBODY):
        statuses = [live(made.port, NOBODY)[0] for _ in range(3)]
        assert statuses == [429] * 3
        assert b"20 other pages" in live(made.port, NOBODY)[1]
        assert live(made.port)[0] == 200
    assert 'lanner_console_live_refused_total{reason="session"} 4.0' in made.ask("/metrics").text


def live(port: int, user: int = 0) -> tuple[int, bytes]:
    """Request live updates as a user; return the status and what comes first."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    client.sock = socket.socket()
    os.fchown(client.sock.fileno(), user, -1)
    client.sock.settimeout(5)
    client.sock.connect(("127.0.0.1", port))
    client.request("GET", "/api/live")
    answer = client.getresponse()
    first = answer.readline()
    client.close()
    return answer.status, first


def test_unfinished_requests_keep_nobody_from_the_metrics() -> None:
    """The same mechanism as in the other servers."""
    made = Server("127.0.0.1", 0, {"/good": lambda: (200, TEXT, b"")})
    made.start()

    def ask() -> int:
        client = http.client.HTTPConnection("127.0.0.1", made.port, timeout=5)
        client.request("GET", "/good")
        status = client.getresponse().status
        client.close()
        return status

    with crowd(made.port, 150, HALF_HEADERS, NOBODY):
        assert answers(ask) == [200] * REQUESTS
    assert made.closed["evicted"] >= 150 - 128
    made.stop()
