"""`lanner intake kubernetes-audit` and the processors that evaluate its events, on a real broker."""

import gzip
import http.client
import json
import re
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.administration import create_missing
from bus.connection import Connection
from bus.topics import DAY_MS, PROCESSOR_DEAD_LETTERS, plan
from processor.output.internal_alerts import EVENT_REFUSED
from tests.cluster import dying_intake, dying_processor
from tests.cluster.actions import Alerts, Generator, rules_file
from tests.cluster.broker import Broker
from tests.cluster.conftest import with_topics
from tests.cluster.processes import Processes, Running
from tests.cluster.test_dead_letters import dlq, everything
from tests.cluster.test_notifier import lines, overrides, wait_for_lines
from tests.live.notifier.certificates import make_certificates
from tests.unit.processor.detection.log_entries import log_entry
from tests.unit.processor.detection.requests import line, request

RULES = """
- rule: Secret read
  desc: Somebody reads a secret.
  condition: ka.verb = get and ka.target.resource = secrets
  output: "%ka.user.name read %ka.target.name"
  priority: NOTICE
  source: k8s_audit
"""


def event(number: int) -> dict[str, object]:
    """Return an event that makes one alert; it is dated ahead, so its time depends on when it arrives."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(1_800_000_000 + number)) + ".000000Z"
    return request(auditID=f"event-{number}", stageTimestamp=stamp)


def body(*numbers: int) -> bytes:
    """Return the EventList of some events."""
    return json.dumps({"kind": "EventList", "items": [event(number) for number in numbers]}).encode()


def start(
    processes: Processes, connection: Connection, folder: Path, *arguments: str | Path, dies: str = ""
) -> Running:
    """Start the intake; dies: the point at which it is killed."""
    state = ("-o", f"kubernetes_audit.state_dir={folder / 'places'}")
    program = (dying_intake.PROGRAM, dies) if dies else ()
    root = {"PYTHONPATH": str(Path(__file__).parents[2])} if dies else {}
    made = processes.start(
        connection, "intake", "kubernetes-audit", *state, *arguments, program=program, environment=root
    )
    made.wait_for("taking audit events from")
    return made


def port_of(intake: Running) -> int:
    """Return the port of its webhook."""
    found = re.search(r"from https?://127.0.0.1:(\d+)/", intake.errors)
    assert found is not None
    return int(found[1])


def post(intake: Running, content: bytes, headers: dict[str, str] | None = None) -> tuple[int, str | None]:
    """Post a body; return the status and Retry-After, or 0 if there is no answer."""
    client = http.client.HTTPConnection("127.0.0.1", port_of(intake), timeout=60)
    try:
        client.request("POST", "/", content, headers or {})
        answer = client.getresponse()
    except OSError:
        return 0, None
    finally:
        client.close()
    return answer.status, answer.getheader("Retry-After")


def processor(processes: Processes, connection: Connection, folder: Path, dies: str = "") -> Running:
    """Start a processor with the rules."""
    program = (dying_processor.PROGRAM, dies) if dies else ()
    made = processes.start(connection, "processor", rules=rules_file(folder, RULES), program=program)
    made.wait_for("evaluating rules: 1 rule")
    return made


def wait_for_alerts(alerts: Alerts, numbers: range) -> dict[str, Counter[str]]:
    """Wait until each event has an alert; return the ids by event, and how often each came."""
    wanted = {f"event-{number}" for number in numbers}
    deadline = time.monotonic() + 60
    while True:
        found: dict[str, Counter[str]] = {}
        for alert in alerts.raw:
            if alert.source == "internal":
                continue
            found.setdefault(str(alert.event["ka.auditid"]), Counter())[alert.id] += 1
        if wanted <= found.keys():
            return found
        assert time.monotonic() < deadline, sorted(wanted - found.keys())[:5]
        alerts.read(0.3)


def assert_one_id_each(alerts: Alerts, numbers: range) -> None:
    """Assert that each event has alerts with one id only, and that there are no others."""
    wait_for_alerts(alerts, numbers)
    alerts.read(2)
    found = wait_for_alerts(alerts, numbers)
    assert found.keys() == {f"event-{number}" for number in numbers}
    assert [name for name, ids in found.items() if len(ids) != 1] == []


@pytest.fixture
def alerts(connection: Connection) -> Iterator[Alerts]:
    """Provide the alerts of the shared broker's fleet."""
    made = Alerts(connection)
    yield made
    made.close()


def test_what_an_api_server_posts_becomes_an_alert_once(
    connection: Connection, processes: Processes, alerts: Alerts, tmp_path: Path
) -> None:
    """Over TLS with a client certificate and a token, compressed; a bad event does not affect the others."""
    files = make_certificates(tmp_path)
    (tmp_path / "token").write_text("s3cret\n")
    settings = {
        "certificate_file": files.server,
        "key_file": files.server_key,
        "client_ca_file": files.authority,
        "token_file": tmp_path / "token",
    }
    options = [f"-okubernetes_audit.{name}={value}" for name, value in settings.items()]
    intake = start(processes, connection, tmp_path, "--listen", "127.0.0.1:0", *options)
    processor(processes, connection, tmp_path)
    processes.start(connection, "notifier", "file", *overrides(tmp_path))
    context = ssl.create_default_context(cafile=str(files.authority))
    context.load_cert_chain(files.client, files.client_key)
    client = http.client.HTTPSConnection("127.0.0.1", port_of(intake), timeout=60, context=context)
    content = json.loads(body(1, 2))
    content["items"].insert(1, request(auditID="bad", stageTimestamp="noon", requestReceivedTimestamp=None))
    packed = gzip.compress(json.dumps(content).encode())
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    statuses = []
    for token in ("wrong", "s3cret", "s3cret"):
        client.request("POST", "/", packed, {**headers, "Authorization": f"Bearer {token}"})
        answer = client.getresponse()
        answer.read()
        statuses.append(answer.status)
    assert statuses == [401, 200, 200]
    assert_one_id_each(alerts, range(1, 3))
    assert {each.output for each in alerts.raw if each.source != "internal"} == {"alice read db"}
    assert len(wait_for_lines(tmp_path / "alerts", 3)) == 3
    assert {each.rule for each in alerts.raw if each.source == "internal"} == {EVENT_REFUSED}
    letters = [dict(headers) for _, _, _, headers in everything(connection, PROCESSOR_DEAD_LETTERS)]
    assert {letter["reason"] for letter in letters} == {
        b"not an audit event: line 2: stageTimestamp is not a valid time: noon"
    }
    assert "noon" in dlq(connection, "list").stdout
    assert intake.stop() == 0
    assert "6 audit events taken" in intake.errors
    assert len(lines(tmp_path / "alerts")) == 3


def test_an_intake_that_dies_before_it_answers_loses_and_repeats_nothing(
    connection: Connection, processes: Processes, alerts: Alerts, tmp_path: Path
) -> None:
    """The API server gets no answer and posts again; the alerts have the same ids."""
    processor(processes, connection, tmp_path)
    dying = start(processes, connection, tmp_path, "--listen", "127.0.0.1:0", dies="stored:2")
    assert post(dying, body(*range(10)))[0] == 200
    assert post(dying, body(*range(10, 20)))[0] == 0
    again = start(processes, connection, tmp_path, "--listen", "127.0.0.1:0")
    assert post(again, body(*range(10, 20)))[0] == 200
    assert_one_id_each(alerts, range(20))
    assert len(alerts.raw) == 30


def test_while_the_broker_is_away_the_api_server_is_asked_to_retry(
    own_broker: Broker, processes: Processes, tmp_path: Path
) -> None:
    """After 429 with Retry-After, the same body is accepted once the broker answers, and its alerts come once."""
    connection = with_topics(own_broker, 1)
    intake = start(processes, connection, tmp_path, "--listen", "127.0.0.1:0")
    assert post(intake, body(0))[0] == 200
    own_broker.stop()
    assert post(intake, body(1)) == (429, "5")
    started = time.monotonic()
    assert post(intake, body(1)) == (429, "5")
    assert time.monotonic() - started < 15
    own_broker.start()
    deadline = time.monotonic() + 60
    while post(intake, body(1))[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert "audit events can't be accepted" in intake.errors
    assert "audit events are accepted again." in intake.errors
    processor(processes, connection, tmp_path)
    alerts = Alerts(connection)
    assert_one_id_each(alerts, range(2))
    alerts.close()


def test_a_followed_file_is_read_once_over_kills_and_rotations(
    connection: Connection, processes: Processes, alerts: Alerts, tmp_path: Path
) -> None:
    """The intake is killed between storing events and storing the place, and after that; the file is rotated."""
    log = tmp_path / "audit.log"
    processor(processes, connection, tmp_path)
    written = 0

    def write(count: int) -> None:
        nonlocal written
        with log.open("ab") as file:
            for number in range(written, written + count):
                file.write(line(event(number)))
        written += count

    write(10)
    for dies in ("stored:1", "stored:2", "committed:1", "committed:2"):
        dying = start(processes, connection, tmp_path, "--file", log, dies=dies)
        while dying.is_alive:
            write(5)
            time.sleep(0.2)
        log.rename(tmp_path / f"audit-{written:03}.log")
        write(5)
    last = start(processes, connection, tmp_path, "--file", log)
    assert_one_id_each(alerts, range(written))
    assert last.stop() == 0
    assert "is lost" not in last.errors


def test_a_topic_of_cloud_services_is_read_once_over_a_kill(
    connection: Connection, processes: Processes, alerts: Alerts, tmp_path: Path
) -> None:
    """Azure's envelopes, lists and Google's entries; offsets are committed after the broker has the events.

    What can't be read becomes a dead letter.
    """
    create_missing(connection, plan(connection.prefix + "hub.", 1, 1, DAY_MS)[:1])
    topic = f"{connection.prefix}hub.events"
    generator = Generator(connection)
    for number in range(20):
        record = {"category": "kube-audit", "properties": {"log": json.dumps(event(number))}}
        generator.send(json.dumps({"records": [record]}).encode(), "hub", topic="hub.events")
    generator.send(b"nonsense", "hub", topic="hub.events")
    generator.flush()
    processor(processes, connection, tmp_path)
    group = ("-o", f"kubernetes_audit.topic.group={connection.prefix}hub", "--topic", topic)
    dying = start(processes, connection, tmp_path, *group, dies="stored:1")
    deadline = time.monotonic() + 60
    while dying.is_alive:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    last = start(processes, connection, tmp_path, *group)
    for number in range(20, 25):
        generator.send(line([event(number)]), "hub", topic="hub.events")
    entry = log_entry("io.k8s.core.v1.secrets.get", "core/v1/namespaces/prod/secrets/db")
    generator.send(line(entry | {"operation": {"id": "event-25"}}), "hub", topic="hub.events")
    generator.flush()
    assert_one_id_each(alerts, range(26))
    assert last.stop() == 0
    reasons = {headers["reason"] for _, _, _, headers in everything(connection, PROCESSOR_DEAD_LETTERS)}
    assert {reason.split(b" (")[0] for reason in reasons} == {
        b"not an audit event: not JSON: Expecting value: line 1 column 1"
    }


@pytest.mark.parametrize("dies", ["json evaluated:3", "json results sent:3"])
def test_what_a_dying_processor_had_not_acknowledged_is_evaluated_again(
    connection: Connection, processes: Processes, alerts: Alerts, tmp_path: Path, dies: str
) -> None:
    """The alerts that come twice have the same ids."""
    intake = start(processes, connection, tmp_path, "--listen", "127.0.0.1:0")
    dying = processor(processes, connection, tmp_path, dies)
    # The events of a request are one message.
    for first in range(0, 50, 10):
        assert post(intake, body(*range(first, first + 10)))[0] == 200
    deadline = time.monotonic() + 60
    while dying.is_alive:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    processor(processes, connection, tmp_path)
    assert_one_id_each(alerts, range(50))


def test_published_rules_on_audit_events_become_active_without_a_restart(
    connection: Connection, processes: Processes, alerts: Alerts, tmp_path: Path
) -> None:
    """The processor starts with rules on system calls only."""
    intake = start(processes, connection, tmp_path, "--listen", "127.0.0.1:0")
    made = processes.start(connection, "processor", rules=rules_file(tmp_path))
    made.wait_for("evaluating rules:")
    rules = tmp_path / "audit.yaml"
    rules.write_text(RULES)
    assert processes.start(connection, "rules", "publish", "--yes", rules).result() == 0
    deadline = time.monotonic() + 60
    while not any(alert.rule == "Lanner internal: rules changed" for alert in alerts.raw):
        assert time.monotonic() < deadline
        alerts.read(0.5)
    alerts.raw.clear()
    assert post(intake, body(*range(5)))[0] == 200
    assert_one_id_each(alerts, range(5))
