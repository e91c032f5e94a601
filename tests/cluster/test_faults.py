import os
import signal
import sys
import time
from pathlib import Path

from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.topics import PROCESSOR_DEAD_LETTERS
from processor.output.internal_alerts import EVENTS_LOST, RULE_FAILED
from schemas.encoding.batch import encode_batch
from tests.cluster.actions import RULES, Alerts, Generator, assert_exact, rules_file
from tests.cluster.broker import Broker
from tests.cluster.conftest import PARTITIONS, with_topics
from tests.cluster.correlate_oracle import WITH_MEMORY, assert_owed, wait_for_owed
from tests.cluster.notices import wait_for_sum
from tests.cluster.processes import Processes


def test_what_cannot_be_decoded_goes_to_the_dead_letters(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Invalid messages become dead letters with a reason; messages before and after them are evaluated."""
    generator = Generator(connection, hosts=1)
    host = generator.hosts[0]
    generator.act(1)
    whole = encode_batch(host.batch("cut-off"))
    poison = [b"", b"not avro at all", whole[: len(whole) // 2], b"\xc3\x01" + bytes(8) + whole[10:]]
    for bad in poison:
        generator.send(bad, host.name)
    generator.act(1)
    generator.flush()
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path))
    processor.wait_for("evaluating rules:")
    alerts = Alerts(connection)
    alerts.wait_for(len(generator.actions), 30)
    reader = TopicReader(connection, connection.topic(PROCESSOR_DEAD_LETTERS), whole=True)
    dead_letters = []
    deadline = time.monotonic() + 20
    while len(dead_letters) < len(poison) and time.monotonic() < deadline:
        message = reader.poll(0.2)
        if message is not None:
            dead_letters.append(message)
    assert [dead.value() or b"" for dead in dead_letters] == poison
    for dead in dead_letters:
        reported = dict(dead.headers() or [])
        assert reported["reason"].startswith(b"not decodable")
        assert reported["topic"].decode() == connection.topic("events")
        assert int(reported["offset"]) >= 1
    assert processor.stop() == 0
    assert_exact(generator.actions, alerts)
    reader.close()
    alerts.close()


def test_a_killed_processor_loses_nothing(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """One of two workers is killed under load: each action has one id, and windows equal the oracle's."""
    rules = rules_file(tmp_path, WITH_MEMORY)
    first = processes.start(connection, "processor", rules=rules)
    second = processes.start(connection, "processor", rules=rules)
    first.wait_for("evaluating rules:")
    second.wait_for("evaluating rules:")
    generator = Generator(connection)
    for _ in range(20):
        generator.act(5)
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    for _ in range(20):
        generator.act(5)
        time.sleep(0.05)
    third = processes.start(connection, "processor", rules=rules)
    generator.flush()
    alerts = Alerts(connection)
    alerts.wait_for(len(generator.actions), 60)
    took = time.monotonic() - killed_at
    assert took < 45
    wait_for_owed(connection, alerts, 30)
    for each in (second, third):
        assert each.stop() == 0, each.errors
        assert "Traceback" not in each.errors
    alerts.read(1)
    repeats = assert_exact(generator.actions, alerts) + assert_owed(connection, len(generator.actions), alerts)
    sys.stdout.write(f"{len(generator.actions)} actions, {repeats} alerts twice, all {took:.1f} s after the kill\n")
    alerts.close()


def test_a_broker_that_restarts_loses_nothing(own_broker: Broker, processes: Processes, tmp_path: Path) -> None:
    """The broker restarts under load: processors continue, and each action has exactly one id."""
    connection = with_topics(own_broker, PARTITIONS)
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path, WITH_MEMORY))
    processor.wait_for("evaluating rules:")
    generator = Generator(connection)
    generator.act(20)
    own_broker.stop()
    generator.act(20)
    time.sleep(3)
    own_broker.start()
    generator.act(20)
    generator.flush()
    alerts = Alerts(connection)
    alerts.wait_for(len(generator.actions), 90)
    generator.act(5)
    generator.flush()
    alerts.wait_for(len(generator.actions), 60)
    wait_for_owed(connection, alerts, 30)
    assert processor.is_alive, processor.errors
    assert processor.stop() == 0, processor.errors
    assert "Traceback" not in processor.errors
    alerts.read(1)
    assert_exact(generator.actions, alerts)
    assert_owed(connection, len(generator.actions), alerts)
    alerts.close()


RAISES = """
- rule: Raises
  desc: Asks for what raises.
  condition: evt.type = openat and fd.name startswith /marked/ and basename(proc.name) != nothing
  output: never
  priority: NOTICE
"""


def test_a_rule_that_raises_is_reported_and_the_others_go_on(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """With a bug in one function, each failure is counted, and other rules still alert on each action."""
    program = (str(Path(__file__).with_name("broken_processor.py")),)
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path, RAISES + RULES), program=program)
    processor.wait_for("evaluating rules:")
    generator = Generator(connection, hosts=4)
    generator.act(10)
    generator.flush()
    alerts = Alerts(connection)
    alerts.wait_for(len(generator.actions), 30)
    wait_for_sum(connection, alerts, RULE_FAILED, "Raises", len(generator.actions), 30)
    assert processor.stop() == 0, processor.errors
    assert "Traceback" not in processor.errors
    assert_exact(generator.actions, alerts)
    alerts.close()


def test_lost_events_and_gaps_are_reported(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """Missing batches and reported losses become internal alerts."""
    generator = Generator(connection, hosts=1)
    host = generator.hosts[0]
    generator.act(2)
    host.sequence += 3
    generator.act(1)
    batch = host.batch()
    batch.lost = {"events_ring_full": 41}
    generator.publish(batch)
    generator.flush()
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path))
    processor.wait_for("evaluating rules:")
    alerts = Alerts(connection)
    alerts.wait_for(len(generator.actions), 30)
    for name, number in {"batches_missing": 3, "events_ring_full": 41}.items():
        wait_for_sum(connection, alerts, EVENTS_LOST, name, number, 30)
    assert processor.stop() == 0
    reported = [alert for alert in alerts.raw if alert.rule == EVENTS_LOST]
    assert reported
    assert all(alert.source == "internal" and alert.hostname == host.name for alert in reported)
    alerts.close()
