import itertools
import json
import re
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from bus.clients.compacted import CompactedTopicWriter, read_topics
from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.published_rules import current
from bus.topics import CORRELATE, EVENTS, PUSHDOWN_FILTERS
from lanner.settings import Settings
from lanner.wiring.stages.processor import Preparation
from processor.detection.budget import BOUNDLESS, Budget
from processor.detection.view import BatchView
from processor.matching.wire import message_of
from schemas.alert import Alert
from schemas.batch import EventBatch
from schemas.encoding.batch import decode_batch
from schemas.published_rules import decode_rules
from tests.cluster.actions import RULE, Alerts, Generator, assert_exact, rules_file
from tests.cluster.processes import Processes, Running
from tests.cluster.publishing import CHANGED, MARKED, OTHER, filter_of, named, publish, until
from tests.cluster.secured import SecuredBroker
from tests.live.collector.watching import events_of
from tests.ports import free_ports
from tests.unit.processor.batches import batch_of

TEN = "Ten of a group"
WITH_MEMORY = f"""
- macro: ten_of_a_group
  condition: evt.type = openat and fd.name startswith /group/
  correlation: {{type: event_count, group-by: [fd.name], timespan: 1h, condition: {{gte: 10}}}}
- rule: {TEN}
  desc: The tenth event of a group.
  condition: ten_of_a_group
  output: "%correlation.count of %fd.name"
  priority: NOTICE
"""
LISTED = """
- indicators: published
  file: lists/published.csv
  kind: text
  source: a feed
- indicators: local
  file: {local}
  kind: text
- rule: A listed file
  desc: Somebody opens a file that is on a list.
  condition: evt.type = openat and fd.name in_indicators (published, local)
  output: listed
  priority: NOTICE
"""
OTHERS = "/etc/lanner/indicators or /var/lib/lanner/indicators"


class Following(threading.Thread):
    """Sends batches of simulated hosts, like a collector that follows the pushdown filter."""

    def __init__(self, generator: Generator) -> None:
        super().__init__(daemon=True)
        self.generator = generator
        self.versions = ""
        self.done = threading.Event()

    def run(self) -> None:
        """Send batches until stopped, each with the current filter version."""
        while not self.done.is_set():
            found = read_topics(self.generator.connection, [PUSHDOWN_FILTERS])[PUSHDOWN_FILTERS]
            self.versions = "+".join(sorted(key.decode() for key in found))
            for host in self.generator.hosts:
                mark = f"{host.name}-{host.sequence + 1}"
                batch = host.batch(mark)
                batch.interest_version = self.versions
                self.generator.publish(batch)
                self.generator.actions.append(mark)

    def end(self) -> None:
        """Stop generating actions."""
        self.done.set()
        self.join(20)
        self.generator.flush()


def act_in_group(generator: Generator, sequences: range, path: str = "/group/x") -> None:
    """Send an action of a new host in one group, without a filter."""
    for sequence in sequences:
        event = {"type": "openat", "fd_name": path, "time": time.time_ns()}
        batch = batch_of(event, host_id="g", hostname="g", collector_start=1, sequence=sequence)
        batch.interest_version = "*"
        generator.publish(batch)
    generator.flush()


def two(processes: Processes, connection: Connection, *arguments: str) -> tuple[Running, Running]:
    """Start two processors with only minimal rule files."""
    first, second = (processes.start(connection, "processor", *arguments) for _ in range(2))
    workers = (first, second)
    for each in workers:
        each.wait_for("evaluating rules:")
    return workers


def test_processors_switch_under_load(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """No event is lost or reported twice, an unchanged macro continues, and the change is reported once.

    Lists of indicators come with the version, or are each processor's own.
    """
    first = rules_file(tmp_path, MARKED + WITH_MEMORY)
    before = publish(processes, connection, first, "--comment", "to begin with")
    allowed = ("-o", f"published_rules.indicator_folders=[{tmp_path}]")
    workers = two(processes, connection, *allowed)
    assert all(f"of version {before}" in each.errors for each in workers)
    generator = Generator(connection, hosts=8)
    act_in_group(generator, range(1, 7))
    following = Following(generator)
    following.start()
    until(lambda: following.versions == before and len(generator.actions) > 0, "no host acts")
    second = tmp_path / "second.yaml"
    local, published = tmp_path / "local.txt", tmp_path / "lists" / "published.csv"
    published.parent.mkdir()
    published.write_text("value,description\n/listed/a,A place\n")
    local.write_text("/nowhere\n")
    second.write_text(MARKED.replace("NOTICE", "WARNING") + WITH_MEMORY + OTHER + LISTED.format(local=local))
    refused = processes.start(connection, "rules", "publish", second, "--yes")
    assert (refused.result(), f"not below {OTHERS}" in refused.errors) == (1, True), refused.errors
    after = publish(processes, connection, second, *allowed)
    for each in workers:
        each.wait_for(f"version {after} is active")
    until(lambda: following.versions == after, "the filter was not narrowed")
    following.end()
    published.write_text("value\n/another\n")
    local.write_text("/listed/b\n/listed/c\n")
    for each in workers:
        each.wait_for(f"indicators local: 2 entries of kind text from {local}.")
    act_in_group(generator, range(7, 11))
    act_in_group(generator, range(11, 12), "/listed/a")
    act_in_group(generator, range(12, 13), "/listed/b")
    alerts = Alerts(connection)
    alerts.wait_for(len(generator.actions), 30)
    until(lambda: alerts.read(0.2) or bool(named(alerts, TEN)), "the macro's count was not kept")
    until(lambda: alerts.read(0.2) or len(named(alerts, "A listed file")) == 2, "the lists were not used")
    facts = ("name", "description", "list", "source")
    assert {
        tuple(alert.output_fields[f"indicator.{fact}"] for fact in facts)
        for alert in named(alerts, "A listed file").values()
    } == {("/listed/a", "A place", "published", "a feed"), ("/listed/b", None, "local", None)}
    assert_exact(generator.actions, alerts)
    assert {alert.priority for alert in alerts.raw if alert.rule == RULE} == {"Notice", "Warning"}
    assert [alert.output.split(" container")[0] for alert in named(alerts, TEN).values()] == ["10 of /group/x"]
    changes = {alert.output_fields["rules.version"]: alert for alert in named(alerts, CHANGED).values()}
    assert set(changes) == {before, after}
    assert len(named(alerts, CHANGED)) == 2
    assert changes[after].output_fields["rules.changes"] == (
        f"~ rule {RULE}: priority Warning instead of Notice",
        "+ rule Another added",
        "+ rule A listed file added",
        "+ indicators published added",
        "+ indicators local added",
    )
    assert changes[before].output_fields["rules.comment"] == "to begin with"
    status = processes.start(connection, "rules", "status")
    assert status.result() == 0, status.output
    assert status.output.count("active") == 2
    for each in workers:
        assert each.stop() == 0, each.errors
        assert "Traceback" not in each.errors
    alerts.close()


def test_rules_over_the_budget_are_not_published(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """They are measured on the retained events; --force publishes them all the same."""
    generator = Generator(connection, hosts=1)
    act_in_group(generator, range(1, 4))
    each_open = rules_file(tmp_path, MARKED.replace("/marked/", "/"))
    budget = ("-o", "published_rules.budget.alerts_per_day=2")

    run = processes.start(connection, "rules", "publish", each_open, "--yes", *budget)
    assert run.result() == 1, run.output + run.errors
    assert "alerts a day; published_rules.budget.alerts_per_day is 2." in run.errors
    assert current(connection) is None

    publish(processes, connection, each_open, "--force", *budget)


def test_a_backtest_decides_whether_rules_are_published(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """A setting demands it; limits hold for the busiest day, and what was decided is part of the version."""
    demand = ("-o", "published_rules.backtest={store: topic, since: 2h, limits: [{priority: notice}]}")
    quiet, noisy = tmp_path / "quiet.yaml", tmp_path / "noisy.yaml"
    quiet.write_text(OTHER)
    noisy.write_text(OTHER + MARKED)
    run = processes.start(connection, "rules", "publish", quiet, "--yes", *demand)
    assert run.result() == 1, run.output + run.errors
    assert "no backtest is possible on the topics: no events of this time are stored." in run.errors
    generator = Generator(connection, hosts=1)
    generator.act(4)
    generator.flush()
    publish(processes, connection, quiet, *demand)

    run = processes.start(connection, "rules", "publish", noisy, "--yes", *demand)
    assert run.result() == 1, run.output + run.errors
    assert "1 new or changed rule would have raised 4 alerts in less than an hour on 1 host." in run.output
    assert "4 alerts of priority Notice or higher on 20" in run.errors
    publish(processes, connection, noisy, "--force", *demand)
    message = current(connection)
    assert message is not None
    recorded = decode_rules(message.value() or b"").difference
    assert recorded[0] == f"+ rule {RULE} added"
    assert "on 1 host; published by --force: 4 alerts of priority Notice" in recorded[-1]

    run = processes.start(connection, "rules", "backtest", noisy, "--topic", "--since", "1h", "--format", "json")
    assert run.result() == 0, run.errors
    (found,) = json.loads(run.output)["found"]
    assert (found["rule"], found["alerts"], found["by_image"]) == (RULE, 4, {"host": 4})


def test_a_processor_that_starts_during_a_change_understands_the_version_before(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Matches that a former processor forwarded are counted by their macro, and none counts as unknown."""
    publish(processes, connection, rules_file(tmp_path, WITH_MEMORY))
    before = Preparation(Settings()).compile(current(connection))  # type: ignore[arg-type]
    generator = Generator(connection, hosts=1)
    for sequence in range(1, 11):
        event = {"type": "openat", "fd_name": "/group/x", "time": time.time_ns()}
        batch = batch_of(event, host_id="g", hostname="g", collector_start=1, sequence=sequence)
        for key, value in map(message_of, before.ruleset.pre_matcher.process(BatchView(batch), Budget(BOUNDLESS))):
            generator.send(value, key.decode("latin-1"), topic=CORRELATE)
    before.close()
    generator.flush()
    second = tmp_path / "second.yaml"
    second.write_text(WITH_MEMORY.replace("/group/", "/other/"))
    after = publish(processes, connection, second)
    (port,) = free_ports(1)
    worker = processes.start(connection, "processor", environment={"LANNER__HTTP__LISTEN": f"127.0.0.1:{port}"})
    worker.wait_for(f"of version {after}")
    alerts = Alerts(connection)
    until(lambda: alerts.read(0.2) or bool(named(alerts, TEN)), "the matches were not understood")
    alerts.close()
    assert [alert.output.split(" container")[0] for alert in named(alerts, TEN).values()] == ["10 of /group/x"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    assert re.search(r'passed_over_total\{reason="unknown_term"\} 0\.0$', metrics, re.MULTILINE), metrics
    assert worker.stop() == 0, worker.errors


def test_publishing_needs_the_right_to_rules_alone(
    secured: SecuredBroker, processes: Processes, tmp_path: Path
) -> None:
    """A processor with its own rules publishes the filter, and readers see who runs which rules."""
    prefix = secured.fleet()
    worker = processes.start(secured.by_certificate("lanner-processor", prefix), "processor")
    worker.wait_for("evaluating rules:")
    rules = rules_file(tmp_path, MARKED)
    publisher = processes.start(
        secured.by_certificate("lanner-publisher", prefix), "rules", "publish", rules, "--yes", "--force"
    )
    assert publisher.result() == 0, publisher.errors
    assert "filter" not in publisher.errors
    worker.wait_for("is active, published by")
    operator = secured.by_certificate("lanner-operator", prefix)
    version = publisher.output.split()[-1]
    until(lambda: filter_of(operator, version) > 0, "no filter was written")
    status = processes.start(operator, "rules", "status")
    assert status.result() == 0, status.output + status.errors
    assert version in status.output
    assert worker.stop() == 0, worker.errors


@pytest.mark.live
def test_a_collector_widens_before_processors_switch(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """The filter of a new rule is active before the rule, and dropped after it is removed."""
    old, new = tmp_path / "old-secret", tmp_path / "new-secret"
    for each in (old, new):
        each.write_text("x")
    first = publish(processes, connection, opens_of(tmp_path / "first.yaml", old))
    # Each of the equal reads is looked for.
    collector = processes.start(connection, "collector", "-o", "collector.count_repeats=false")
    worker = processes.start(connection, "processor")
    collector.wait_for(f"these need: {first}")
    worker.wait_for("evaluating rules:")
    assert old.read_text() == new.read_text()
    second = publish(processes, connection, opens_of(tmp_path / "second.yaml", new))
    worker.wait_for(f"version {second} is active")
    reads = 20
    for _ in range(reads):
        assert new.read_text() == "x"
    alerts = Alerts(connection)
    until(lambda: alerts.read(0.2) or len(read_of(alerts, new)) >= reads, "a read was not sent")
    assert len(read_of(alerts, new)) == reads
    assert f"these need: {first}, {second}" in collector.errors
    assert "although" not in worker.errors
    collector.wait_for(f"these need: {second}.")
    assert collector.stop() == 0, collector.errors
    assert worker.stop() == 0, worker.errors
    reported = [batch.interest_version for batch in batches_of(connection)]
    assert [version for version, _ in itertools.groupby(reported) if version] == [first, f"{first}+{second}", second]
    alerts.close()


@pytest.mark.live
def test_a_collector_without_a_readable_filter_sends_everything(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Without a readable filter, everything is sent until one is written again, and each batch reports that."""
    requested, other = tmp_path / "asked", tmp_path / "other"
    other.write_text("x")
    version = publish(processes, connection, opens_of(tmp_path / "rules.yaml", requested))
    collector = processes.start(connection, "collector")
    collector.wait_for(f"these need: {version}")
    CompactedTopicWriter(connection).put(PUSHDOWN_FILTERS, version.encode(), b"\xff", [])
    collector.wait_for("these need: any version")
    other.read_text()
    assert collector.stop() == 0, collector.errors
    sent = [event for event in events_of(batches_of(connection)) if event["fd.name"] == str(other)]
    assert {event.batch.interest_version for event in sent} == {"*"}
    assert {event["evt.type"] for event in sent} > {"openat", "read", "lseek"}


def opens_of(file: Path, path: Path) -> Path:
    """Write a rule file for opens of one path."""
    file.write_text(
        f"- rule: Read {path.name}\n  desc: A read.\n  condition: evt.type = openat and fd.name = {path}\n"
        "  output: read %fd.name\n  priority: NOTICE\n"
    )
    return file


def read_of(alerts: Alerts, path: Path) -> dict[str, Alert]:
    """Return the alerts of a path's rule by id."""
    return named(alerts, f"Read {path.name}")


def batches_of(connection: Connection) -> list[EventBatch]:
    """Read all batches of the host."""
    reader = TopicReader(connection, connection.topic(EVENTS), whole=True)
    found = []
    while not reader.has_read_all or len(found) == 0:
        message = reader.poll(0.2)
        if message is not None:
            found.append(decode_batch(message.value() or b""))
    reader.close()
    return found
