import gzip
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from foundation.text import ignore_note
from lanner.intake.documents import RawEvent, split
from lanner.intake.webhook import AuditWebhook, WebhookAccess, WebhookLimits
from tests.live.notifier.certificates import make_certificates
from tests.notes import into
from tests.unit.lanner.intake.broker import FakeBroker
from tests.unit.processor.detection.requests import request

BODY = json.dumps({"kind": "EventList", "items": [request(auditID="a"), request(auditID="b")]}).encode()
Make = Callable[..., AuditWebhook]


@pytest.fixture
def broker() -> FakeBroker:
    """Return a broker that acknowledges everything."""
    return FakeBroker()


@pytest.fixture
def webhook(broker: FakeBroker) -> Iterator[Make]:
    """Return a function that starts a webhook; stop all at the end."""
    started: list[AuditWebhook] = []

    def make(access: WebhookAccess | None = None, **options: object) -> AuditWebhook:
        given = {"report": ignore_note} | options
        made = AuditWebhook(broker.open, access or WebhookAccess(), **given)  # type: ignore[arg-type]
        made.start("127.0.0.1", 0)
        started.append(made)
        return made

    yield make
    for each in started:
        each.stop(5)


def post(
    made: AuditWebhook, body: bytes = BODY, headers: dict[str, str] | None = None, path: str = "/"
) -> tuple[int, str, str | None]:
    """Post a body; return status, text and Retry-After."""
    client = http.client.HTTPConnection("127.0.0.1", made.port, timeout=10)
    client.request("POST", path, body, headers or {})
    answer = client.getresponse()
    text = answer.read().decode()
    client.close()
    return answer.status, text, answer.getheader("Retry-After")


def test_the_events_of_a_list_are_stored(webhook: Make, broker: FakeBroker) -> None:
    """Compressed or not, at both paths; 200 means that the broker has them."""
    made = webhook()
    assert post(made)[0] == 200
    assert post(made, gzip.compress(BODY), {"Content-Encoding": "gzip"}, "/k8s-audit")[0] == 200

    assert broker.events == ["a", "b"] * 2
    assert (broker.outcomes["accepted"], made.codes) == (4, {200: 2})


def test_while_the_broker_is_away_the_sender_is_asked_to_retry(webhook: Make, broker: FakeBroker) -> None:
    """At once from the second request on, until the broker answers; both changes are reported once."""
    notes: list[str] = []
    broker.is_away = True
    made = webhook(limits=WebhookLimits(bus_seconds=0.1), report=into(notes))
    assert [post(made) for _ in range(3)] == [
        (429, "the events could not be stored\n", "5"),
        (429, "the broker does not answer\n", "5"),
        (429, "the broker does not answer\n", "5"),
    ]
    assert made.is_failing
    broker.loop.call_soon_threadsafe(broker.answer)
    assert post(made)[0] == 200
    away, again = notes
    assert away.startswith("warning: audit events can't be accepted: no answer from the broker in time.")
    assert again == "audit events are accepted again."
    assert not made.is_failing


def test_a_broker_that_refuses_the_connection_is_no_reason_to_drop_events(webhook: Make, broker: FakeBroker) -> None:
    """An API server drops what is answered with another status than 429."""
    broker.fault = "not allowed"

    assert post(webhook())[0] == 429


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"{}", {}, 400),
        (b"no gzip", {"Content-Encoding": "gzip"}, 400),
        (b"x", {"Content-Encoding": "zstd"}, 400),
        (b" " * 20_001, {}, 413),
        (gzip.compress(b" " * 50_000_000, mtime=0), {"Content-Encoding": "gzip"}, 413),
        (gzip.compress(b" " * 20_001, mtime=0), {"Content-Encoding": "gzip"}, 413),
    ],
)
def test_bodies_that_will_never_be_accepted(
    webhook: Make, broker: FakeBroker, body: bytes, headers: dict[str, str], status: int
) -> None:
    """Nothing of them is stored."""
    made = webhook(limits=WebhookLimits(body_bytes=20_000))
    assert post(made, body, headers)[0] == status

    assert not broker.sent
    assert post(made)[0] == 200


def test_large_documents_do_not_keep_others_waiting(
    webhook: Make, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While as many are split as can be at a time, and more wait for that, small ones are stored."""
    begun, go_on = threading.Semaphore(0), threading.Event()

    def split_later(document: bytes) -> list[RawEvent]:
        if len(document) > len(BODY):
            begun.release()
            assert go_on.wait(30)
        return split(document)

    monkeypatch.setattr("lanner.intake.webhook.split", split_later)
    made = webhook()
    large = BODY.replace(b'"items"', b'"x": ' + b"[" * 500_000 + b"]" * 500_000 + b', "items"')
    with ThreadPoolExecutor(4) as senders:
        answers = [senders.submit(post, made, large) for _ in range(4)]
        try:
            assert all(begun.acquire(timeout=10) for _ in range(2))
            assert not begun.acquire(timeout=0.2)
            assert [post(made)[0] for _ in range(5)] == [200] * 5
            assert broker.events == ["a", "b"] * 5
        finally:
            go_on.set()
        assert [answer.result()[0] for answer in answers] == [200] * 4
    assert broker.events == ["a", "b"] * 9


def test_a_body_of_unknown_length_is_bounded(webhook: Make) -> None:
    """A sender needs no Content-Length."""
    made = webhook(limits=WebhookLimits(body_bytes=20_000))
    client = http.client.HTTPConnection("127.0.0.1", made.port, timeout=10)
    client.request("POST", "/", iter([b" " * 8000] * 3), {"Transfer-Encoding": "chunked"}, encode_chunked=True)

    assert client.getresponse().status == 413


def test_an_unfinished_body_is_answered_in_time(webhook: Make) -> None:
    """A slow sender holds a connection for a while only."""
    made = webhook(limits=WebhookLimits(request_seconds=0.2))
    with socket.create_connection(("127.0.0.1", made.port), timeout=10) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[")

        assert client.recv(12) == b"HTTP/1.1 408"


def test_a_token_is_required_if_one_is_set(webhook: Make) -> None:
    """Nothing is read without it."""
    made = webhook(WebhookAccess(b"s3cret"))
    statuses = [
        post(made, BODY, headers)[0]
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer s3cret"})
    ]

    assert statuses == [401, 401, 200]
    assert made.codes == {401: 2, 200: 1}


def test_a_client_certificate_is_required_if_an_authority_is_set(
    webhook: Make, broker: FakeBroker, tmp_path: Path
) -> None:
    """The kubeconfig of the API server names its certificate."""
    files = make_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.server, files.server_key)
    context.load_verify_locations(files.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    made = webhook(WebhookAccess(context=context))
    theirs = ssl.create_default_context(cafile=str(files.authority))
    client = http.client.HTTPSConnection("localhost", made.port, timeout=10, context=theirs)
    try:
        client.request("POST", "/", BODY)
        status = client.getresponse().status
    except OSError:
        status = 0
    assert (status, broker.sent) == (0, [])
    theirs.load_cert_chain(files.client, files.client_key)
    client = http.client.HTTPSConnection("localhost", made.port, timeout=10, context=theirs)
    client.request("POST", "/", BODY)

    assert client.getresponse().status == 200
