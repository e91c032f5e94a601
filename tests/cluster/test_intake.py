import http.client
import json
import re
import signal
import time
from pathlib import Path

from bus.connection import Connection
from bus.topics import ALERTS, SIEM_FALCO
from schemas.encoding.wire import REGISTRY_MARKER
from tests.cluster.broker import Broker
from tests.cluster.conftest import with_topics
from tests.cluster.processes import Processes, Running
from tests.cluster.registry import SchemaRegistry
from tests.cluster.test_notifier import lines, messages, overrides, wait_for_lines
from tests.live.notifier.slack_server import SlackServer
from tests.unit.notifier.formats.test_falco import falco


def port_of(notifier: Running) -> int:
    """Return the intake's port."""
    notifier.wait_for("accepting alerts at")
    found = re.search(r"alerts at http://127.0.0.1:(\d+)/", notifier.errors)
    assert found is not None
    return int(found[1])


def post(port: int, body: bytes, timeout: float = 60) -> int:
    """Post an alert as Falco does."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    client.request("POST", "/", body, {"Content-Type": "application/json"})
    status = client.getresponse().status
    client.close()
    return status


def test_what_falco_posts_goes_to_every_sink_once(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """An alert that is posted twice, even across a restart of the notifier, is delivered once."""
    arguments = ("notifier", "file", "siem.falco", "--listen", "127.0.0.1:0", *overrides(tmp_path))
    first = processes.start(connection, *arguments)
    port = port_of(first)
    assert [post(port, falco(rule=f"Rule {number}")) for number in (1, 2, 1)] == [200, 200, 200]
    assert len(wait_for_lines(tmp_path / "alerts", 2)) >= 2
    assert first.stop() == 0
    restarted = processes.start(connection, *arguments)
    assert [post(port_of(restarted), falco(rule=f"Rule {number}")) for number in (2, 3)] == [200, 200]
    wait_for_lines(tmp_path / "alerts", 3)
    documents = [json.loads(str(each["value"], "utf-8")) for each in messages(connection, SIEM_FALCO, 4, 5)]  # type: ignore[arg-type]
    assert restarted.stop() == 0
    assert sorted(each["rule"] for each in documents) == ["Rule 1", "Rule 2", "Rule 3"]
    assert len(lines(tmp_path / "alerts")) == 3
    assert "1 duplicates" in restarted.errors
    assert "intake: 2 accepted, 0 refused, 0 could not be stored" in restarted.errors


def test_falco_waits_while_the_broker_is_away(own_broker: Broker, processes: Processes, tmp_path: Path) -> None:
    """A request is not answered with 200 before the broker has the alert."""
    connection = with_topics(own_broker, 1)
    notifier = processes.start(connection, "notifier", "file", "--listen", "127.0.0.1:0", *overrides(tmp_path))
    port = port_of(notifier)
    own_broker.stop()
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    client.request("POST", "/", falco())
    client.sock.settimeout(1)
    try:
        client.sock.recv(1, 2)
        answered = True
    except TimeoutError:
        answered = False
    assert not answered
    client.sock.settimeout(60)
    own_broker.start()
    assert client.getresponse().status == 200
    assert len(wait_for_lines(tmp_path / "alerts", 1)) == 1


def test_one_host_needs_no_broker(processes: Processes, tmp_path: Path) -> None:
    """An alert that was answered with 200 is delivered after a kill and restart."""
    slack = SlackServer()
    (tmp_path / "token").write_text("made-up-token\n")
    arguments = ["notifier", "slack", "--local", "--listen", "127.0.0.1:0", *overrides(tmp_path)]
    arguments += ["-o", f"slack_output.token_file={tmp_path / 'token'}", "-o", "slack_output.channel=#alerts"]
    arguments += ["-o", f"slack_output.api_url={slack.api}"]
    nowhere = Connection(bootstrap_servers="127.0.0.1:9")
    try:
        slack.faults = ["hang"]
        notifier = processes.start(nowhere, *arguments)
        assert post(port_of(notifier), falco()) == 200
        until = time.monotonic() + 20
        while not slack.requests and time.monotonic() < until:
            time.sleep(0.01)
        notifier.kill()
        processes.start(nowhere, *arguments)
        until = time.monotonic() + 20
        while not slack.posted and time.monotonic() < until:
            time.sleep(0.05)
        assert ["Terminal shell" in each["text"] for each in slack.posted] == [True]
    finally:
        slack.close()


def test_sighup_takes_new_routes_and_a_bad_file_keeps_the_old(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Under constant load, no alert is lost or doubled."""
    settings = tmp_path / "lanner.yaml"
    settings.write_text("watch_config_files: false\nroutes: [{match: proc.name = a, sink: file}]\n")
    notifier = processes.start(
        connection, "notifier", "file", "-c", settings, "--listen", "127.0.0.1:0", *overrides(tmp_path)
    )
    port = port_of(notifier)

    def send(kind: str, numbers: range) -> None:
        for number in numbers:
            assert post(port, falco(rule=f"{kind}{number}", output_fields={"proc.name": kind})) == 200

    def hang_up(said: str) -> None:
        notifier.signal(signal.SIGHUP)
        notifier.wait_for(said)

    send("a", range(20))
    settings.write_text("routes: [{match: proc.typo = a, sink: file}]\n")
    hang_up("keeping the previous settings.")
    assert f"{settings}:1:18: routes[0].match" in notifier.errors
    send("a", range(20, 40))
    settings.write_text("watch_config_files: false\nroutes: [{match: proc.name = b, sink: file}]\n")
    wait_for_lines(tmp_path / "alerts", 40)
    hang_up("settings reloaded.")
    send("b", range(20))
    send("a", range(40, 45))
    wait_for_lines(tmp_path / "alerts", 60)
    assert notifier.stop() == 0
    rules = [json.loads(line)["rule"] for line in (tmp_path / "alerts").read_text().splitlines()]
    assert sorted(rules) == sorted([f"a{number}" for number in range(40)] + [f"b{number}" for number in range(20)])
    assert "5 not routed to it" in notifier.errors


def test_a_changed_file_is_noticed_without_a_signal(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """The notifier reloads its settings unless watch_config_files is off."""
    settings = tmp_path / "lanner.yaml"
    settings.write_text("json_output: true\n")
    notifier = processes.start(connection, "notifier", "file", "-c", settings, *overrides(tmp_path))
    notifier.wait_for("alerts from")
    settings.write_text("prioriti: debug\n")
    notifier.wait_for("keeping the previous settings.")


def test_where_a_schema_registry_is_alerts_are_written_as_its_readers_want(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Alerts are refused while the registry is away, then written in Confluent's format, which the notifier reads."""
    registry = SchemaRegistry(tmp_path)
    registry_settings = {"LANNER__KAFKA__SCHEMA_REGISTRY_URL": registry.url}
    arguments = ("notifier", "file", "--listen", "127.0.0.1:0", *overrides(tmp_path))
    try:
        notifier = processes.start(connection, *arguments, environment=registry_settings)
        port = port_of(notifier)
        assert post(port, falco()) == 503
        registry.begin()
        registry.wait()
        until = time.monotonic() + 30
        while post(port, falco()) != 200:
            assert time.monotonic() < until
            time.sleep(0.2)
        assert len(wait_for_lines(tmp_path / "alerts", 1)) == 1
        (made,) = messages(connection, ALERTS, 1)
        value = made["value"]
        assert isinstance(value, bytes)
        assert value.startswith(REGISTRY_MARKER)
    finally:
        registry.stop()
