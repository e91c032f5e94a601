import base64
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lanner.errors import BadInput
from lanner.settings import Settings, load_settings
from lanner.wiring.routers import enabled_sinks, open_sinks
from lanner.wiring.sinks.registry import open_sink
from notifier.outbox import Outbox
from notifier.sink import Delivered, RetryLater, RoutedAlert, SendOutcome, Sink, Undeliverable
from notifier.worker import Worker
from schemas.alert import Alert
from tests.live.notifier.certificates import Certificates, make_certificates
from tests.live.notifier.http_server import HttpServer
from tests.notes import into
from tests.unit.alerts import alert
from tests.unit.notifier.scripted import Clock, worker

SECRETS = {
    "LANNER_WEBHOOK_TOKEN": "made-up-token",
    "LANNER_WEBHOOK_SIGNING_SECRET": "whsec_" + base64.b64encode(b"made-up-secret-of-32-bytes-length").decode(),
}


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """Run a stand-in."""
    made = HttpServer()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Make an authority and what it signed."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def settings(url: str, *flags: str, form: str = "falco") -> Settings:
    """Return the settings of a webhook."""
    configured = [
        f"webhook_output.url={url}",
        f"webhook_output.format={form}",
        "webhook_output.timeout_seconds=1",
        *flags,
    ]
    return load_settings(None, {}, configured)


def webhook(url: str, *flags: str, form: str = "falco") -> Sink:
    """Return a webhook as a user configures it."""
    return open_sink(settings(url, *flags, form=form), "webhook", environment=SECRETS)


def send_once(sink: Sink, *alerts: Alert) -> SendOutcome:
    """Send alerts once, and close the connection."""
    try:
        return sink.send([RoutedAlert(each) for each in alerts or [alert()]])
    finally:
        sink.close()


def test_falcos_json_is_posted_as_falco_posts_it(server: HttpServer) -> None:
    """With the id added, the token, headers of the user's own, and the text of the route's template."""
    flags = "webhook_output.headers=[{name: X-Team, value: security}]"
    assert webhook(server.url + "/in", flags).send([RoutedAlert(alert(), text="in other words")]) == Delivered()
    (request,) = server.taken
    assert (request.path, request.headers["X-Team"]) == ("/in", "security")
    assert (request.headers["Authorization"], request.headers["Content-Type"]) == (
        "Bearer made-up-token",
        "application/json",
    )
    made = json.loads(request.body)
    assert (made["id"], made["rule"], made["priority"]) == (alert().id, "A rule", "Warning")
    assert made["output"].endswith(": Warning in other words")


def test_a_receiver_can_verify_who_sent_a_request_and_when(server: HttpServer) -> None:
    """Id, timestamp and body under HMAC-SHA256, by the scheme of Standard Webhooks."""
    send_once(webhook(server.url))
    (request,) = server.taken
    reported = request.headers
    assert reported["webhook-id"] == alert().id
    assert abs(int(reported["webhook-timestamp"]) - time.time()) < 10
    signed = f"{reported['webhook-id']}.{reported['webhook-timestamp']}.".encode() + request.body
    digest = hmac.new(b"made-up-secret-of-32-bytes-length", signed, hashlib.sha256).digest()
    assert reported["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


def test_splunk_takes_a_batch_and_its_code_counts_not_the_status(server: HttpServer) -> None:
    """A wrong index is the sink's fault, a wrong event that event's, and a proxy's 200 is no acceptance."""
    server.speaks = "splunk"
    alerts = [alert(id=f"id-{number}") for number in range(5)]
    index = "webhook_output.splunk.index=security"
    assert send_once(webhook(server.url, index, form="splunk_hec"), *alerts) == Delivered(5)
    (request,) = server.taken
    events = [json.loads(line) for line in request.body.splitlines()]
    assert [event["event"]["id"] for event in events] == [each.id for each in alerts]
    assert {key: events[0][key] for key in ("time", "host", "index", "sourcetype")} == {
        "time": "1795530690.479846",
        "host": "web-3",
        "index": "security",
        "sourcetype": "_json",
    }
    wrong = send_once(webhook(server.url, "webhook_output.splunk.index=none", form="splunk_hec"), *alerts)
    assert isinstance(wrong, RetryLater)
    assert "HEC code 7" in wrong.reason
    poisoned = send_once(webhook(server.url, form="splunk_hec"), alert(), alert(rule="poison"))
    assert isinstance(poisoned, Undeliverable)
    assert poisoned.together == 2
    server.faults = ['200 {"text": "Server is busy", "code": 9}', "200 <html>a proxy speaks</html>"]
    for reason in ("HEC code 9", "not from Splunk's HTTP Event Collector"):
        outcome = send_once(webhook(server.url, form="splunk_hec"))
        assert isinstance(outcome, RetryLater)
        assert reason in outcome.reason


def test_alertmanager_gets_labels_that_group_and_annotations_that_explain(server: HttpServer) -> None:
    """Long and hostile values are bounded; an alert delivered late is not resolved at once."""
    server.speaks = "alertmanager"
    hostile = alert(
        rule="A rule " * 100,
        output="x" * 10_000,
        output_fields={f"proc.aname[{number}]": "y" * 9000 for number in range(99)},
        event={"container.name": "shop\n\x1b[31m", "container.id": "0123456789ab"},
        time=alert().time - 3600 * 10**9,
    )
    flags = "webhook_output.alertmanager.generator_url=https://wiki/{id}"
    assert send_once(webhook(server.url + "/api/v2/alerts", flags, form="alertmanager"), alert(), hostile) == Delivered(
        2
    )
    first, second = json.loads(server.taken[0].body)
    assert first["labels"] == {
        "alertname": "A rule",
        "severity": "warning",
        "priority": "warning",
        "instance": "web-3",
        "source": "syscall",
    }
    assert first["annotations"]["summary"] == alert().output
    assert first["annotations"]["field_fd_name"] == "/etc/shadow"
    assert first["generatorURL"] == f"https://wiki/{alert().id}"
    assert second["labels"]["container"] == "shop\\n\\x1b[31m"
    assert max(map(len, second["labels"].values())) == 256
    assert max(map(len, second["annotations"].values())) == 4096
    assert len(second["annotations"]) == 64


@pytest.mark.parametrize(
    ("fault", "meaning"),
    [
        ("429 slow down", RetryLater("HTTP 429 Too Many Requests, slow down", 7.0)),
        ("500 made-up-token failed", RetryLater("HTTP 500 Internal Server Error, *** failed", 7.0)),
        ("503", RetryLater("HTTP 503 Service Unavailable", 7.0)),
        ("401", RetryLater("HTTP 401 Unauthorized", 7.0)),
        ("404 <html>", RetryLater("HTTP 404 Not Found", 7.0)),
        ("400 no field x\n", Undeliverable("HTTP 400 Bad Request, no field x")),
        ("422", Undeliverable("HTTP 422 Unprocessable Entity")),
        ("close", RetryLater("it closed the connection, or doesn't speak HTTP")),
        ("hang", RetryLater("no answer in time")),
        ("drip", RetryLater("no answer in time")),
        ("drip_head", RetryLater("no answer in time")),
        ("endless", Delivered()),
        ("redirect", RetryLater("HTTP 302 Found, redirects are not followed; set the URL that it leads to")),
    ],
)
def test_only_an_answer_about_the_alert_is_a_refusal(
    server: HttpServer, fault: str, meaning: SendOutcome, capfd: pytest.CaptureFixture[str]
) -> None:
    """All other failures are retried after the requested time; an answer is reported without our secrets."""
    server.faults, server.retry_after = [fault], "7"
    began = time.monotonic()
    assert send_once(webhook(server.url + "/made-up-path")) == meaning
    assert "made-up-path" not in capfd.readouterr().err
    assert time.monotonic() - began < 10
    assert server.taken == []


def test_the_far_end_is_verified_and_requests_our_certificate(certificates: Certificates) -> None:
    """An authority that signed nothing here is not trusted, and a name that isn't the certificate's neither."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.server_key)
    context.load_verify_locations(certificates.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    server = HttpServer(context=context)
    client = [
        f"webhook_output.certificate_file={certificates.client}",
        f"webhook_output.key_file={certificates.client_key}",
    ]
    trusting = f"webhook_output.ca_file={certificates.authority}"
    try:
        assert send_once(webhook(server.url, trusting, *client)) == Delivered()
        stranger = send_once(webhook(server.url, f"webhook_output.ca_file={certificates.stranger}", *client))
        assert isinstance(stranger, RetryLater)
        assert "certificate is not trusted" in stranger.reason
        elsewhere = send_once(webhook(server.url.replace("127.0.0.1", "127.0.0.2"), trusting, *client))
        assert isinstance(elsewhere, RetryLater)
        assert isinstance(send_once(webhook(server.url, trusting)), RetryLater)
    finally:
        server.close()
    assert len(server.taken) == 1


def test_a_name_that_does_not_resolve_and_a_port_that_is_closed_are_distinguished(server: HttpServer) -> None:
    """So that who reads it knows where to look."""
    unknown = send_once(webhook("https://no-such-host.invalid/made-up-path"))
    assert isinstance(unknown, RetryLater)
    assert "name can't be resolved" in unknown.reason
    server.close()
    assert send_once(webhook(server.url)) == RetryLater("Connection refused")


def test_the_environments_proxy_is_used_except_where_it_excludes_the_host(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every program on the host does; its password goes to the proxy alone."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    proxy = server.url.replace("http://", "http://made-up-user:made-up-password@")
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("https_proxy", proxy)
    assert send_once(webhook("http://siem.invalid/in")) == Delivered()
    refused = send_once(webhook("https://siem.invalid/in"))
    assert isinstance(refused, RetryLater)
    assert "its proxy" in refused.reason
    assert "made-up" not in refused.reason
    plain, tunnel = server.taken
    assert (plain.path, tunnel.path) == ("http://siem.invalid/in", "siem.invalid:443")
    configured = "Basic " + base64.b64encode(b"made-up-user:made-up-password").decode()
    assert plain.headers["proxy-authorization"] == tunnel.headers["proxy-authorization"] == configured
    monkeypatch.setenv("no_proxy", "siem.invalid")
    direct = send_once(webhook("http://siem.invalid/in"))
    assert isinstance(direct, RetryLater)
    assert "resolved" in direct.reason


def through(
    server: HttpServer, sink: Sink, folder: Path, alerts: Sequence[Alert], reported: list[str]
) -> tuple[Outbox, Worker]:
    """Deliver from an outbox whose idling moves the clock; the server is down for the first half hour."""
    clock = Clock()
    made = worker(folder / "webhook.db", sink, clock, name="webhook", reported=reported)
    assert isinstance(made.queue, Outbox)
    for each in alerts:
        made.queue.put(each)
    down_until = clock.now + 1800
    while made.queue.backlog():
        if clock.now < down_until:
            server.faults = ["503"]
        made.turn()
    sink.close()
    assert clock.now >= down_until
    return made.queue, made


@pytest.mark.parametrize("form", ["falco", "splunk_hec", "alertmanager"])
def test_down_for_half_an_hour_then_all_in_order_and_no_dead_letter(
    server: HttpServer, tmp_path: Path, form: str
) -> None:
    """This holds for each format, and nothing that is reported contains a secret."""
    reported: list[str] = []
    server.speaks = {"splunk_hec": "splunk"}.get(form, form)
    alerts = [alert(id=f"id-{number:03d}") for number in range(120)]
    box, made = through(server, webhook(server.url + "/api/v2/alerts", form=form), tmp_path, alerts, reported)
    assert box.dead_letters() == []
    text = b"\n".join(each.body for each in server.taken).decode()
    found = [part.split('"')[0] for part in text.split('"id":"')[1:]]
    assert found == [each.id for each in alerts]
    assert (made.stats.sent, made.stats.retried > 20) == (120, True)
    assert reported == [
        "webhook: HTTP 503 Service Unavailable; alerts wait and are sent when it works again.",
        "webhook: accepts alerts again.",
    ]


@pytest.mark.parametrize("form", ["splunk_hec", "alertmanager"])
def test_of_a_batch_only_the_alert_at_fault_becomes_a_dead_letter(
    server: HttpServer, tmp_path: Path, form: str
) -> None:
    """The batch is refused, then its alerts go one by one."""
    server.speaks = {"splunk_hec": "splunk"}.get(form, form)
    alerts = [alert(id=f"id-{number}", rule="poison" if number == 3 else "A rule") for number in range(8)]
    box, made = through(server, webhook(server.url + "/api/v2/alerts", form=form), tmp_path, alerts, [])
    assert [each.alert_id for each in box.dead_letters()] == ["id-3"]
    assert made.stats.sent == 7


TEMPLATE = """\
{
  "text": "{{ priority }}: {{ output }}",
  "file": "{{ output_fields['fd.name'] }}",
  "parent": {{ event.get('proc.pname') }},
  "tags": {{ tags | tojson }}
}
"""


def test_a_template_makes_the_body_and_no_file_name_can_add_to_it(server: HttpServer, tmp_path: Path) -> None:
    """What an attacker chose stays within its quotes."""
    path = tmp_path / "body.j2"
    path.write_text(TEMPLATE)
    hostile = '/tmp/x", "text": "all is well\n\\'
    sink = webhook(server.url, f"webhook_output.template_file={path}", form="template")
    assert send_once(sink, alert(output_fields={"fd.name": hostile})) == Delivered()
    assert json.loads(server.taken[0].body) == {
        "text": "Warning: A file was read | file=/etc/shadow",
        "file": hostile,
        "parent": None,
        "tags": ["container", "host"],
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{\n"a": "{{ output_fields["no.such"] }}"}', "body.j2:2: 'dict object' has no attribute 'no.such'"),
        ("{{ nothing }}", "body.j2:1: 'nothing' is undefined"),
        ('{"a": {{ output }} }', "body.j2: its output is not valid JSON: Expecting value: line 1 column 7 (char 6)"),
        (
            "{% for x in range(99999) %}{{ event | tojson }}                {% endfor %}",
            "its output exceeds 1048576 bytes",
        ),
        ("{% macro m() %}{{ m() }}{% endmacro %}\n{{ m() }}", "body.j2:1: maximum recursion depth exceeded"),
        ("{{ ().__class__.__bases__ }}", "body.j2:1: access to attribute '__class__' of 'tuple' object is unsafe."),
    ],
)
def test_an_alert_that_no_body_can_be_made_of_is_refused_with_the_templates_line(
    server: HttpServer, tmp_path: Path, text: str, reason: str
) -> None:
    """It can be replayed when the template is right."""
    path = tmp_path / "body.j2"
    path.write_text(text)
    outcome = send_once(webhook(server.url, f"webhook_output.template_file={path}", form="template"))
    assert isinstance(outcome, Undeliverable)
    assert reason in outcome.reason


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["webhook_output.url=https://user:made-up@siem/"], "must not hold a user name or password"),
        (["webhook_output.url=ftp://siem/"], "must be an http:// or https:// URL"),
        (["webhook_output.url=https://siem:99999/"], "must be an http:// or https:// URL"),
        (["webhook_output.headers=[{name: 'X Y', value: a}]"], "headers[0].name must be the name of an HTTP header"),
        (["webhook_output.headers=[{name: Host, value: a}]"], "headers[0].name: Host is set by Lanner"),
        (["webhook_output.headers=[{name: X-Y}]"], "headers[0]: needs either value or value_file"),
        (['webhook_output.headers=[{name: X-Y, value: "a\\nb"}]'], "headers[0].value must be one line"),
        (["webhook_output.headers=[{name: X-Y, value_file: /no/such}]"], "headers[0].value_file: /no/such: No such"),
        (["webhook_output.ca_file=/no/such"], "webhook_output.ca_file: /no/such: missing"),
        (["webhook_output.format=template"], "template_file must be set"),
        (["webhook_output.format=template", "webhook_output.template_file=/no/such"], "template_file: /no/such: No su"),
    ],
)
def test_what_is_wrong_with_the_settings_is_reported_at_the_start(flags: list[str], said: str) -> None:
    """By the setting's name, without what it holds where that is a secret."""
    with pytest.raises(BadInput) as raised:
        webhook("https://siem/", *flags)
    assert any(said in message for message in raised.value.messages), raised.value.messages
    assert not any("made-up" in message for message in raised.value.messages)


def test_a_template_with_a_mistake_is_reported_with_its_line(tmp_path: Path) -> None:
    """Before the first alert comes."""
    path = tmp_path / "body.j2"
    path.write_text("{\n{% if %}\n}")
    with pytest.raises(BadInput, match=r"body.j2:2: Expected an expression"):
        webhook("https://siem/", f"webhook_output.template_file={path}", form="template")


def test_an_id_that_came_from_outside_becomes_no_header(server: HttpServer) -> None:
    """Nor does it keep the alert from being delivered."""
    evil: Any = alert(id="x\r\nX-Evil: yes")
    assert send_once(webhook(server.url), evil) == Delivered()
    assert "X-Evil" not in server.taken[0].headers


def test_one_process_keeps_what_it_could_not_deliver_for_its_next_start(
    server: HttpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sink of `run`: alerts are accepted while the far end is down, and nothing reported contains their address."""
    (tmp_path / "url").write_text(f"{server.url}/made-up-path\n")
    flags = [f"notifier.state_dir={tmp_path}", "webhook_output.enabled=true", "stdout_output.enabled=false"]
    configured = load_settings(None, {}, [*flags, f"webhook_output.url_file={tmp_path / 'url'}"])
    monkeypatch.setattr("notifier.outputs.DRAIN_SECONDS", 0.2)
    reported: list[str] = []
    server.faults = ["503"] * 99
    (sink,) = open_sinks(configured, enabled_sinks(configured), note=into(reported), before_line=lambda: None)
    for number in range(3):
        sink.deliver(alert(id=f"id-{number}"))
    until = time.monotonic() + 20
    while not reported and time.monotonic() < until:
        time.sleep(0.01)
    sink.close()
    assert reported[-1] == "webhook: 3 alerts on disk, sent at the next start."
    server.faults = []
    (sink,) = open_sinks(configured, enabled_sinks(configured), note=into(reported), before_line=lambda: None)
    monkeypatch.setattr("notifier.outputs.DRAIN_SECONDS", 10)
    sink.close()
    assert [json.loads(each.body)["id"] for each in server.taken] == ["id-0", "id-1", "id-2"]
    assert "made-up" not in "".join(reported)
