import base64
import gzip
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from foundation.text import ignore_note
from notifier.intake import Bus, IntakeLimits, IntakeServer, into_outboxes
from notifier.outbox import Outbox
from notifier.sink import RoutedAlert
from processor.output.redaction import Redaction
from schemas.alert import Alert
from tests.live.notifier.certificates import make_certificates
from tests.notes import into
from tests.unit.alerts import alert
from tests.unit.notifier.formats.test_falco import falco

Make = Callable[..., IntakeServer]


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    """Return the outbox of a sink."""
    return Outbox(tmp_path / "slack.outbox.db", capacity=100)


@pytest.fixture
def bus(outbox: Outbox) -> Bus:
    """Return a bus with one outbox that every alert is routed to."""
    return partial(into_outboxes, [(outbox, RoutedAlert)])


@pytest.fixture
def intake(bus: Bus) -> Iterator[Make]:
    """Return a function that starts an intake; stop all at the end."""
    started: list[IntakeServer] = []

    def make(bus: Bus = bus, **options: object) -> IntakeServer:
        given = {"report": ignore_note, "prepare": Redaction().alert} | options
        made = IntakeServer(bus, lambda: alert(id="a test"), **given)  # type: ignore[arg-type]
        made.start("127.0.0.1", 0)
        started.append(made)
        return made

    yield make
    for each in started:
        each.stop(5)


def ask(
    intake: IntakeServer, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, str]:
    """Make one request."""
    client = http.client.HTTPConnection("127.0.0.1", intake.port, timeout=10)
    client.request(method, path, body, headers or {})
    answer = client.getresponse()
    text = answer.read().decode()
    client.close()
    return answer.status, text


def test_it_answers_as_falcosidekick_does(intake: Make, outbox: Outbox) -> None:
    """It serves `/`, `/test`, `/ping` and `/healthz`; after 200 the alert is on disk."""
    made = intake()
    assert ask(made, "GET", "/ping") == (200, "pong\n")
    assert ask(made, "GET", "/healthz") == (200, '{"status": "ok"}')
    assert ask(made, "POST", "/", falco()) == (200, "")
    assert ask(made, "POST", "/test") == (200, "")
    assert [each.alert.rule for each in outbox.fetch(9, 0)] == ["Terminal shell", "A rule"]
    assert ask(made, "GET", "/")[0] == 405
    assert ask(made, "POST", "/debug/vars")[0] == 404


def test_a_repeated_alert_is_queued_once(intake: Make, outbox: Outbox) -> None:
    """Falco posts again after a timeout, and the id is the same."""
    made = intake()
    assert [ask(made, "POST", "/", falco())[0] for _ in range(2)] == [200, 200]
    assert outbox.backlog() == 1


def test_secrets_in_falcos_alerts_are_masked_before_they_are_stored(intake: Make, outbox: Outbox) -> None:
    """The configured patterns apply; a repeat is still recognized."""
    made = intake()
    fields = {"proc.cmdline": "mysql --password hunter2", "fd.name": "https://ann:hunter2@db/", "proc.pid": 7}
    body = falco(output="ran mysql --password hunter2", output_fields=fields)
    assert [ask(made, "POST", "/", body)[0] for _ in range(2)] == [200, 200]
    (stored,) = (each.alert for each in outbox.fetch(9, 0))
    assert stored.output == "ran mysql --password [redacted]"
    assert stored.output_fields["proc.cmdline"] == "mysql --password [redacted]"
    assert stored.output_fields["fd.name"] == "https://ann:[redacted]@db/"
    assert "hunter2" not in repr(stored)


def test_an_alert_that_is_routed_to_no_sink_is_accepted(intake: Make, outbox: Outbox) -> None:
    """Routes are no concern of the sender."""
    made = intake(partial(into_outboxes, [(outbox, lambda _: None)]))
    assert ask(made, "POST", "/", falco())[0] == 200
    assert outbox.backlog() == 0


def test_invalid_bodies_are_answered_with_the_reason_and_counted(intake: Make, outbox: Outbox) -> None:
    """A body that is too large only after decompression is refused too."""
    made = intake(limits=IntakeLimits(body_bytes=10_000))
    assert ask(made, "POST", "/", b"{") == (
        400,
        "not valid JSON: Expecting property name enclosed in double quotes at line 1, column 2\n",
    )
    assert ask(made, "POST", "/", b"x" * 10_001) == (413, "an alert has at most 10000 bytes\n")
    bomb = gzip.compress(b" " * 50_000_000)
    assert ask(made, "POST", "/", bomb, {"Content-Encoding": "gzip"})[0] in (400, 413)
    assert ask(made, "POST", "/", gzip.compress(falco()), {"Content-Encoding": "gzip"})[0] == 200
    assert made.stats.refused >= 2
    assert made.stats.taken == outbox.backlog() == 1


def test_a_token_is_required(intake: Make, outbox: Outbox) -> None:
    """As a bearer token or as the password of Falco's URL; health checks need none."""
    made = intake(token="made up")
    basic = base64.b64encode(b"falco:made up").decode()
    answers = [
        ask(made, "POST", "/", falco(rule=str(number)), {} if shown is None else {"Authorization": shown})[0]
        for number, shown in enumerate(
            [None, "Bearer made", "Basic !", "made up", "Bearer made up", f"Basic {basic}", "Bearer mäde up"]
        )
    ]
    assert answers == [401, 401, 401, 401, 200, 200, 401]
    assert ask(made, "POST", "/test")[0] == 401
    assert ask(made, "GET", "/ping")[0] == 200
    assert outbox.backlog() == 2


def test_if_the_bus_fails_the_answer_is_503_and_that_is_reported_once(intake: Make) -> None:
    """The recovery is reported once too."""
    faults: list[Exception | None] = [OSError("no room"), OSError("no room"), None]
    said: list[str] = []

    @asynccontextmanager
    async def broken() -> object:  # type: ignore[misc]
        async def take(_: Alert) -> None:
            if (fault := faults.pop(0)) is not None:
                raise fault

        yield take

    made = intake(broken, report=into(said))
    assert [ask(made, "POST", "/", falco())[0] for _ in range(3)] == [503, 503, 200]
    assert said == ["intake: alerts can't be accepted: no room.", "intake: alerts are accepted again."]
    assert (made.stats.failed, made.stats.taken) == (2, 1)


def test_a_client_that_never_completes_a_request_is_dropped(intake: Make) -> None:
    """Slow headers and slow bodies; the server answers others in the meantime and afterwards."""
    made = intake(limits=IntakeLimits(request_seconds=0.4))
    heads = (b"POST / HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
    slow = [socket.create_connection(("127.0.0.1", made.port), timeout=10) for _ in heads]
    for each, head in zip(slow, heads, strict=True):
        each.sendall(head)
    assert ask(made, "GET", "/ping")[0] == 200
    until = time.monotonic() + 10
    for each in slow:
        ended = False
        while not ended and time.monotonic() < until:
            try:
                each.sendall(b"X")
                each.settimeout(0.1)
                ended = each.recv(1000) == b"" or ended
            except TimeoutError:
                continue
            except OSError:
                ended = True
        assert ended
        each.close()
    assert ask(made, "POST", "/", falco())[0] == 200


def test_beyond_the_limit_the_connection_that_is_idle_longest_makes_room(intake: Make) -> None:
    """Its client opens a new one for its next request; the others continue to work."""
    made = intake(limits=IntakeLimits(connections=2))
    held = [http.client.HTTPConnection("127.0.0.1", made.port, timeout=10) for _ in range(2)]
    for each in held:
        each.request("GET", "/ping")
        assert each.getresponse().read() == b"pong\n"
    assert ask(made, "GET", "/ping")[0] == 200
    held[1].request("POST", "/", falco())
    assert held[1].getresponse().read() == b""
    assert held[0].sock.recv(1) == b""
    held[0].close()
    held[0].request("GET", "/ping")
    assert held[0].getresponse().status == 200
    for each in held:
        each.close()
    assert made.stats.closed["evicted"] == 1


def test_a_client_that_reads_nothing_is_cut_off(intake: Make) -> None:
    """By the kernel, with what it has not read."""
    made = intake(limits=IntakeLimits(idle_seconds=0.5))
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10)
        client.connect(("127.0.0.1", made.port))
        with pytest.raises(ConnectionError):
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000_000)
    assert ask(made, "GET", "/ping")[0] == 200


def test_tls_and_client_certificates(intake: Make, tmp_path: Path) -> None:
    """A client needs a certificate signed by the authority; Falco's `mtls` sends one."""
    files = make_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.server, files.server_key)
    context.load_verify_locations(files.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    made = intake(context=context)
    theirs = ssl.create_default_context(cafile=str(files.authority))
    for is_known in (False, True):
        if is_known:
            theirs.load_cert_chain(files.client, files.client_key)
        https = http.client.HTTPSConnection("localhost", made.port, context=theirs, timeout=10)
        try:
            https.request("POST", "/", falco())
            assert https.getresponse().status == 200
            assert is_known
        except OSError:
            assert not is_known
        https.close()


def test_an_address_in_use_is_an_error_at_the_start(bus: Bus) -> None:
    """The caller of `start` gets it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        made = IntakeServer(bus, alert, prepare=Redaction().alert, report=ignore_note)
        with pytest.raises(OSError, match="in use"):
            made.start("127.0.0.1", other.getsockname()[1])
