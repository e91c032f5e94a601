import json
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from foundation.text import ignore_note
from foundation.throttling import Backoff
from notifier.formats.syslog import Body, SyslogStyle, message
from notifier.outbox import Outbox
from notifier.sink import Delivered, RetryLater, RoutedAlert, SinkStats
from notifier.sinks.syslog import RemoteSyslogSink, SyslogTarget, TlsFiles, Transport, client_context
from notifier.worker import RetryPolicy, Worker
from schemas.alert import Alert
from tests.live.notifier.certificates import Certificates, make_certificates
from tests.live.notifier.daemons import Daemon, rsyslog, syslog_ng, unpack_syslog_ng
from tests.ports import free_port
from tests.unit.alerts import alert

TRANSPORTS: tuple[Transport, ...] = ("udp", "tcp", "tls", "unix")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Make an authority and what it signed."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def syslog_ng_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fetch syslog-ng."""
    return unpack_syslog_ng(tmp_path_factory.mktemp("syslog-ng"))


@pytest.fixture(params=["rsyslog", "syslog_ng"])
def daemon(request: pytest.FixtureRequest, tmp_path: Path, certificates: Certificates) -> Iterator[Daemon]:
    """Run each daemon."""
    if request.param == "rsyslog":
        made = rsyslog(tmp_path, certificates)
    else:
        made = syslog_ng(tmp_path, certificates, request.getfixturevalue("syslog_ng_root"))
    made.start()
    try:
        yield made
    finally:
        made.stop(kill=True)


def sink_for(
    daemon: Daemon, transport: Transport, certificates: Certificates, body: Body = "text", *, max_bytes: int = 8192
) -> RemoteSyslogSink:
    """Return a sink for one transport, with a client certificate over TLS."""
    files = TlsFiles(str(certificates.authority), str(certificates.client), str(certificates.client_key))
    target = SyslogTarget(
        transport, "127.0.0.1", getattr(daemon, transport, 0) if transport != "unix" else 0, str(daemon.unix)
    )
    style = partial(message, style=SyslogStyle(body=body, max_bytes=max_bytes, version="1.0"))
    return RemoteSyslogSink(target, style, context=client_context(files) if transport == "tls" else None)


def hostile(number: int) -> Alert:
    """Make an alert whose text tries to end the message, the line and the structured data."""
    return alert(
        id=f"id-{number:04d}",
        hostname="web-3",
        output=f"number {number} ä\n<0>1 - forged - - - - x",
        event={"proc.name": 'a"] [x@1 y="\\', "container.id": "host"},
    )


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("body", ["text", "json", "cef"])
def test_a_real_daemon_understands_every_part(
    daemon: Daemon, certificates: Certificates, transport: Transport, body: Body
) -> None:
    """Header, structured data and body, of hostile alerts too."""
    sink = sink_for(daemon, transport, certificates, body)
    for number in range(3):
        assert sink.send([RoutedAlert(hostile(number))]) == Delivered()
    seen = daemon.seen(3)
    assert len(seen) == 3
    for number, each in enumerate(seen):
        assert (each["severity"], each["facility"], each["host"]) == ("warning", "local0", "web-3")
        assert (each["app"], each["msgid"]) == ("lanner", "alert")
        assert each["time"].startswith("2026-11-24T")
        assert f'id="id-{number:04d}"' in each["data"]
        assert each["data"].count("lanner@32473") == 1
        text = each["text"].strip().removeprefix("\ufeff")
        assert f"number {number} ä" in text
        if body == "json":
            assert json.loads(text)["id"] == f"id-{number:04d}"
        elif body == "cef":
            assert text.startswith("CEF:0|Lanner|Lanner|1.0|A rule|A rule|5|externalId=id-")


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_a_long_alert_goes_whole_over_a_stream(
    daemon: Daemon, certificates: Certificates, transport: Transport
) -> None:
    """Octet counting needs no line ends."""
    sink = sink_for(daemon, transport, certificates, max_bytes=60_000)
    assert sink.send([RoutedAlert(alert(output="x" * 30_000))]) == Delivered()
    assert "x" * 30_000 in daemon.seen(1)[0]["text"]


@pytest.mark.parametrize("transport", ["tcp", "tls"])
@pytest.mark.parametrize("kill", [False, True])
def test_a_restart_in_the_middle_loses_nothing(
    daemon: Daemon, certificates: Certificates, transport: Transport, kill: bool, tmp_path: Path
) -> None:
    """Alerts wait while the daemon is away; what a reset took along is sent again."""
    box = Outbox(tmp_path / "box.db", capacity=10_000)
    worker = Worker(
        "syslog",
        box,
        sink_for(daemon, transport, certificates),
        RetryPolicy(Backoff(first=0.1, most=0.5), lambda: 0.5),
        RoutedAlert,
        stats=SinkStats(),
        report=ignore_note,
    )
    worker.start()

    def feed() -> None:
        for number in range(600):
            box.put(hostile(number))
            time.sleep(0.002)

    feeder = threading.Thread(target=feed)
    feeder.start()
    time.sleep(0.4)
    daemon.stop(kill=kill)
    time.sleep(0.3)
    daemon.start()
    feeder.join()
    worker.drain(15)
    time.sleep(1)
    worker.stop(5)
    texts = [each["text"] for each in daemon.seen(600)]
    arrived = {int(text.split("number ")[1].split()[0]) for text in texts}
    missing = set(range(600)) - arrived
    print(f"{transport} kill={kill}: {len(texts) - len(arrived)} twice, {len(missing)} missing")  # noqa: T201  raw figures, for who reads the log
    # A killed daemon loses what it had read but not yet written; no protocol reveals that.
    assert len(missing) <= (20 if kill else 0), sorted(missing)


def test_a_certificate_of_a_stranger_is_not_trusted(daemon: Daemon, certificates: Certificates) -> None:
    """The alert waits, and the reason is reported."""
    target = SyslogTarget("tls", "127.0.0.1", daemon.tls)
    sink = RemoteSyslogSink(
        target, partial(message, style=SyslogStyle()), context=client_context(TlsFiles(str(certificates.stranger)))
    )
    outcome = sink.send([RoutedAlert(alert())])
    assert isinstance(outcome, RetryLater)
    assert "its certificate is not trusted" in outcome.reason


def test_without_a_daemon_alerts_wait() -> None:
    """Connection refused is an outage, and so is a name that nobody knows."""
    target = SyslogTarget("tcp", "127.0.0.1", free_port())
    assert RemoteSyslogSink(target, partial(message, style=SyslogStyle())).send([RoutedAlert(alert())]) == RetryLater(
        "Connection refused"
    )
    target = SyslogTarget("tcp", "no-such-host.invalid", 514)
    outcome = RemoteSyslogSink(target, partial(message, style=SyslogStyle())).send([RoutedAlert(alert())])
    assert isinstance(outcome, RetryLater)
    assert "resolved" in outcome.reason


@pytest.mark.parametrize("is_read", [True, False])
def test_what_a_daemon_had_not_read_when_it_shut_down_is_sent_again(is_read: bool) -> None:
    """Its kernel sends an orderly close and then a reset; after the close alone nothing is sent twice."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = SyslogTarget("tcp", "127.0.0.1", server.getsockname()[1])
        sink = RemoteSyslogSink(target, lambda made: made.rule.encode())
        assert isinstance(sink.send([RoutedAlert(alert(rule="first"))]), Delivered)
        connection, _ = server.accept()
        if is_read:
            assert connection.recv(100) == b"5 first"
        connection.shutdown(socket.SHUT_RDWR)
        closing = threading.Timer(0.05, connection.close)
        closing.start()
        assert isinstance(sink.send([RoutedAlert(alert(rule="second"))]), Delivered)
        connection, _ = server.accept()
        with connection:
            assert connection.recv(100) == (b"6 second" if is_read else b"5 first6 second")
        sink.close()
