import time
from pathlib import Path

import pytest

from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.topics import CORRELATE
from tests.cluster.actions import Alerts, Generator, Host, rules_file
from tests.cluster.broker import Broker
from tests.cluster.conftest import with_topics
from tests.cluster.correlate_oracle import LEARNING, STATEFUL, WITH_MEMORY, assert_owed, wait_for_owed
from tests.cluster.dying_processor import PROGRAM
from tests.cluster.groups import RULES, Groups, assert_equals_oracle, wait_for
from tests.cluster.processes import Processes
from tests.unit.processor.batches import batch_of

SLOW = str(Path(__file__).with_name("slow_recovery.py"))


@pytest.mark.parametrize(
    "point", ["results sent:40", "computed:12", "alerts sent:12", "state written:12", "acknowledged:12"]
)
def test_a_death_in_any_gap_changes_nothing(
    connection: Connection, processes: Processes, tmp_path: Path, point: str
) -> None:
    """One of two workers is killed under load between two steps; counts equal the oracle's."""
    rules = rules_file(tmp_path, RULES)
    dying = processes.start(connection, "processor", rules=rules, program=(PROGRAM, point))
    other = processes.start(connection, "processor", rules=rules)
    dying.wait_for("evaluating rules:")
    other.wait_for("evaluating rules:")
    groups = Groups(connection)
    deadline = time.monotonic() + 30
    while dying.is_alive and time.monotonic() < deadline:
        groups.act(1)
        time.sleep(0.02)
    assert not dying.is_alive, "it never came to that point"
    groups.act(7)
    groups.flush()
    alerts = Alerts(connection)
    wait_for(alerts, groups, 90)
    assert_equals_oracle(alerts, groups)
    assert other.stop() == 0, other.errors
    assert "Traceback" not in other.errors
    alerts.close()


@pytest.mark.parametrize("point", ["results sent:40", "computed:12", "alerts sent:12", "state written:12"])
def test_a_death_in_any_gap_changes_no_window_and_no_first_sighting(
    connection: Connection, processes: Processes, tmp_path: Path, point: str
) -> None:
    """One of two workers is killed under load; each new value of the fleet is reported once, as by the oracle."""
    rules = rules_file(tmp_path, WITH_MEMORY)
    dying = processes.start(connection, "processor", rules=rules, program=(PROGRAM, point))
    other = processes.start(connection, "processor", rules=rules)
    dying.wait_for("evaluating rules:")
    other.wait_for("evaluating rules:")
    generator, alerts = Generator(connection, hosts=6), Alerts(connection)
    deadline = time.monotonic() + 30
    while dying.is_alive and time.monotonic() < deadline:
        generator.act(1)
        time.sleep(0.05)
    assert not dying.is_alive, "it never came to that point"
    time.sleep(LEARNING)
    generator.act(7)
    generator.flush()
    alerts.wait_for(len(generator.actions), 90)
    wait_for_owed(connection, alerts, 60)
    alerts.read(1)
    assert_owed(connection, len(generator.actions), alerts)
    assert {alert.rule for alert in alerts.raw} >= set(STATEFUL)
    assert other.stop() == 0, other.errors
    assert "Traceback" not in other.errors
    alerts.close()


def test_memory_survives_a_restart_of_all_workers(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """Counts continue after a clean restart of the only worker."""
    rules = rules_file(tmp_path, RULES)
    groups = Groups(connection, hosts=8)
    alerts = Alerts(connection)
    for rounds in (2, 2, 3):
        worker = processes.start(connection, "processor", rules=rules)
        worker.wait_for("evaluating rules:")
        groups.act(rounds)
        groups.flush()
        wait_for(alerts, groups, 60)
        assert worker.stop() == 0, worker.errors
    assert_equals_oracle(alerts, groups)
    assert len(groups.expected()) == 8
    alerts.close()


SUPPRESSED = """
- rule: Repeats
  desc: Told once, then as a sum.
  condition: evt.type = openat and fd.name startswith /group/
  output: opened %fd.name
  priority: NOTICE
  suppress: {by: [fd.name], for: 3s}
"""


def test_repeats_are_summed_although_their_owner_dies(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """After one alert, nine repeats and a kill of the owner, one summary id reports nine."""
    rules = rules_file(tmp_path, SUPPRESSED)
    owner = processes.start(connection, "processor", rules=rules)
    owner.wait_for("evaluating rules:")
    generator = Generator(connection, hosts=1)
    for sequence in range(1, 11):
        event = {"type": "openat", "fd_name": "/group/x", "time": time.time_ns()}
        generator.publish(batch_of(event, host_id="host-0", hostname="host-0", collector_start=1, sequence=sequence))
    generator.flush()
    alerts = Alerts(connection)
    deadline = time.monotonic() + 20
    while not alerts.raw and time.monotonic() < deadline:
        alerts.read(0.2)
    owner.kill()
    heir = processes.start(connection, "processor", rules=rules)
    deadline = time.monotonic() + 50
    while len({alert.id for alert in alerts.raw}) < 2 and time.monotonic() < deadline:
        alerts.read(0.5)
    alerts.read(3)
    assert heir.stop() == 0, heir.errors
    first, summary = dict.fromkeys(alert.id for alert in alerts.raw)
    reported = {alert.id: alert for alert in alerts.raw}
    assert reported[first].output.startswith("opened /group/x")
    assert reported[summary].output.startswith("REPEATED 9 more times")
    alerts.close()


def test_a_rebalance_frees_a_reader_that_waits_behind_a_backlog(
    broker: Broker, processes: Processes, tmp_path: Path
) -> None:
    """It waits for room in the queue of a partition whose state is still being read."""
    waiting, acting = 12_000, 50
    former = with_topics(broker, 2)
    rules = rules_file(tmp_path, WITH_MEMORY)
    no_limits = {"LANNER__STATEFUL_RULES__MESSAGES_PER_SECOND": "0"}
    filling = processes.start(former, "processor", rules=rules, environment=no_limits)
    filling.wait_for("evaluating rules:")
    generator, host = Generator(former, hosts=0), Host("host-0", others=0)
    for number in range(waiting // 400):
        generator.publish(host.batch(*(f"{number}-{action}" for action in range(400))))
    generator.flush()
    reader = TopicReader(former, former.topic(CORRELATE), whole=True)
    connection = with_topics(broker, 2)
    copying = Generator(connection, hosts=0)
    copied, deadline = 0, time.monotonic() + 120
    while copied < waiting:
        assert time.monotonic() < deadline, copied
        if (message := reader.poll(0.5)) is not None:
            copying.send(message.value(), "one", message.headers(), topic=CORRELATE)
            copied += 1
    copying.flush()
    reader.close()
    filling.kill()
    first = processes.start(connection, "processor", rules=rules, program=(SLOW,))
    first.wait_for("evaluating rules:")
    second = processes.start(connection, "processor", rules=rules)
    second.wait_for("evaluating rules:")
    later, alerts = Generator(connection), Alerts(connection)
    later.act(acting)
    later.flush()
    alerts.wait_for(len(later.actions), 30)
    for each in (first, second):
        assert each.stop() == 0, each.errors
    alerts.close()
