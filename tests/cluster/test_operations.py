import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from bus.connection import Connection
from bus.topics import EVENTS
from lanner.operations.catalogue import METRICS
from processor.fleet.consumption import BEHIND, CAUGHT_UP
from tests.cluster.actions import RULE, Alerts, Generator, Host, rules_file
from tests.cluster.broker import Broker
from tests.cluster.conftest import with_topics
from tests.cluster.processes import Processes, Running
from tests.promtool import promtool

HTTP = {"LANNER__HTTP__LISTEN": "0"}


@pytest.fixture(scope="module")
def promtool_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Provide promtool."""
    return promtool(tmp_path_factory.mktemp("promtool"))


def address_of(running: Running) -> str:
    """Return the metrics URL that a process logged."""
    running.wait_for("/metrics")
    found = re.search(r"http://127\.0\.0\.1:\d+", running.errors)
    assert found is not None
    return found.group()


def get(url: str) -> tuple[int, str]:
    """Return status and body of a request."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait(question: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)


def lint(promtool_path: str, text: str) -> None:
    """Lint the metrics with promtool, and compare them with the catalog."""
    done = subprocess.run([promtool_path, "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, ""), done.stdout + done.stderr
    named = set(re.findall(r"^# TYPE (lanner_\S+)", text, re.MULTILINE))
    assert named <= set(METRICS)
    assert "host=" not in text


def test_a_processor_shows_alerts_rules_and_lag(
    connection: Connection, processes: Processes, tmp_path: Path, promtool_path: str
) -> None:
    """Metrics exist from the start, follow events, and pass promtool's lint."""
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path), environment=HTTP)
    url = address_of(processor)
    processor.wait_for("evaluating rules:")
    before = get(f"{url}/metrics")[1]
    assert f'lanner_alerts_total{{priority="Notice",rule="{RULE}"}} 0.0' in before
    wait(lambda: get(f"{url}/readyz")[0] == 200)
    assert get(f"{url}/healthz") == (200, "ok: loop: running\n")
    generator = Generator(connection)
    generator.act(5)
    generator.flush()
    alerts = Alerts(connection)
    alerts.wait_for(len(generator.actions), 30)
    alerts.close()
    wait(lambda: f'lanner_alerts_total{{priority="Notice",rule="{RULE}"}} 0.0' not in get(f"{url}/metrics")[1])
    wait(lambda: f'lanner_rule_seconds_total{{rule="{RULE}"}} 0.0\n' not in get(f"{url}/metrics")[1])
    after = get(f"{url}/metrics")[1]
    lint(promtool_path, after)
    assert f'lanner_alerts_total{{priority="Notice",rule="{RULE}"}} {len(generator.actions)}.0' in after
    assert "lanner_consumer_lag{" in after
    assert "lanner_alert_latency_seconds_bucket" in after
    assert processor.stop() == 0


def test_a_processor_that_is_behind_reports_it(broker: Broker, processes: Processes, tmp_path: Path) -> None:
    """By an alert that names who sends most, on its page, and in `lanner hosts`; another alert ends it."""
    connection = with_topics(broker, 1)
    loud, quiet = Host("loud", others=400), Host("quiet", others=400)
    generator = Generator(connection, hosts=0)
    for number in range(2_000):
        generator.publish(loud.batch(f"{number}"))
        if number % 4 == 0:
            generator.publish(quiet.batch(f"{number}"))
    generator.flush()
    environment = HTTP | {"LANNER__LAG__SECONDS": "1"}
    time.sleep(2)
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path), environment=environment)
    url = address_of(processor)
    wait(lambda: "degraded: lag: topic " in get(f"{url}/readyz")[1])
    assert get(f"{url}/readyz")[0] == 200
    hosts = processes.start(connection, "hosts", environment=environment)
    assert hosts.result() == 0
    assert "messages wait for processors" in hosts.errors
    assert "behind: " in hosts.errors
    alerts = Alerts(connection)
    wait(lambda: alerts.read(0.5) or any(alert.rule == CAUGHT_UP for alert in alerts.raw), 120)
    begun, ended = (alert for alert in alerts.raw if alert.rule in (BEHIND, CAUGHT_UP))
    alerts.close()
    assert (begun.rule, ended.rule) == (BEHIND, CAUGHT_UP)
    assert begun.output.startswith(f"topic {connection.topic(EVENTS)} is evaluated ")
    assert begun.output.endswith("of those evaluated last are of host loud")
    assert "degraded" not in get(f"{url}/readyz")[1]
    assert processor.stop() == 0


def test_two_processors_on_one_host_learn_of_the_port(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """A second process on the port names the setting and the remedy."""
    first = processes.start(connection, "processor", rules=rules_file(tmp_path), environment=HTTP)
    port = address_of(first).rpartition(":")[2]
    second = processes.start(
        connection, "processor", rules=rules_file(tmp_path), environment={"LANNER__HTTP__LISTEN": port}
    )
    assert second.result() == 1
    assert f"http.listen: {port}: Address already in use; another process uses port {port}: set http.listen to" in (
        second.errors
    )


def test_a_notifier_is_unwell_when_an_alert_waits_too_long(
    connection: Connection, processes: Processes, tmp_path: Path, promtool_path: str
) -> None:
    """An unavailable sink makes /healthz fail after the limit, with a reason, and attempts are counted."""
    settings = {
        "LANNER__HTTP__LISTEN": "0",
        "LANNER__HTTP__OLDEST_UNDELIVERED_SECONDS": "1",
        "LANNER__NOTIFIER__STATE_DIR": str(tmp_path / "state"),
        "LANNER__SYSLOG_OUTPUT__TRANSPORT": "tcp",
        "LANNER__SYSLOG_OUTPUT__PORT": "1",
        "LANNER__LOG_FORMAT": "json",
    }
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path))
    processor.wait_for("evaluating rules:")
    notifier = processes.start(connection, "notifier", "syslog", "stdout", environment=settings)
    url = address_of(notifier)
    wait(lambda: get(f"{url}/readyz")[0] == 200)
    assert get(f"{url}/healthz")[0] == 200
    generator = Generator(connection)
    generator.act(2)
    generator.flush()
    wait(lambda: get(f"{url}/healthz")[0] == 503)
    reported = get(f"{url}/healthz")[1]
    assert reported.startswith("bad: undelivered alerts of syslog: the oldest has waited")
    assert "Connection refused" in reported
    assert get(f"{url}/livez")[0] == 200
    text = get(f"{url}/metrics")[1]
    lint(promtool_path, text)
    assert 'lanner_sink_alerts_total{outcome="dead_lettered",sink="syslog"} 0.0' in text
    assert re.search(r'lanner_sink_alerts_total{outcome="retried",sink="syslog"} [1-9]', text)
    assert re.search(r'lanner_sink_alerts_total{outcome="delivered",sink="stdout"} [1-9]', text)
    assert re.search(r'lanner_oldest_undelivered_seconds{sink="syslog"} [1-9]', text)
    assert notifier.stop() == 0
    entries = [json.loads(line) for line in notifier.errors.splitlines()]
    assert all(entry["stage"] == "notifier" and entry["timestamp"] and entry["level"] for entry in entries)
    assert any("Connection refused" in entry["event"] for entry in entries)


def test_a_collector_that_has_no_broker_is_alive_and_not_ready(
    own_broker: Broker, processes: Processes, tmp_path: Path, promtool_path: str
) -> None:
    """Spooled batches show in the metrics, and health recovers with the broker."""
    connection = with_topics(own_broker, 1)
    collector = processes.start(connection, "collector", rules=rules_file(tmp_path), environment=HTTP)
    url = address_of(collector)
    wait(lambda: get(f"{url}/readyz")[0] == 200)
    own_broker.stop()
    wait(lambda: get(f"{url}/readyz")[0] == 503)
    assert "bad: broker: accepts no events: they wait on disk" in get(f"{url}/readyz")[1]
    assert get(f"{url}/healthz")[0] == 200
    wait(lambda: "lanner_spool_bytes 0.0" not in get(f"{url}/metrics")[1])
    lint(promtool_path, get(f"{url}/metrics")[1])
    own_broker.start()
    wait(lambda: get(f"{url}/readyz")[0] == 200, 60)
    wait(lambda: "lanner_spool_bytes 0.0" in get(f"{url}/metrics")[1])
    assert collector.stop() == 0
