"""The processors' consumer group, joined, led, held up and moved by clients that are no processors."""

import signal
import time
from pathlib import Path

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from bus.connection import Connection, client_config
from bus.topics import (
    EVENTS,
    HOST_KEYS,
    HOST_PINS,
    PODS,
    PROCESSOR_GROUP,
    PROCESSORS,
    PUSHDOWN_FILTERS,
    QUIET_HOSTS,
    RULES,
    SCHEMAS,
    SESSIONS,
)
from processor.fleet.consumption import OFFSETS_CHANGED, STRANGER
from processor.fleet.kafka.membership import PROTOCOL
from schemas.alert import Alert
from tests.cluster.actions import Alerts, Generator, assert_exact, rules_file
from tests.cluster.processes import Processes, Running
from tests.cluster.strangers import Stranger, assignor

PARTITIONS = 8
"""So many that one of them has none of 16 hosts: a processor commits nothing there, whoever else does."""


def start(connection: Connection, processes: Processes, rules: Path, count: int) -> list[Running]:
    """Start processors and wait until all have partitions."""
    started = [processes.start(connection, "processor", rules=rules) for _ in range(count)]
    for each in started:
        each.wait_for("evaluating rules:")
    return started


def wait_for_alert(alerts: Alerts, rule: str, text: str, timeout: float = 30) -> Alert:
    """Wait for an internal alert whose text contains another one."""
    until = time.monotonic() + timeout
    while True:
        for alert in alerts.raw:
            if alert.rule == rule and text in alert.output:
                return alert
        assert time.monotonic() < until, [alert.output for alert in alerts.raw if alert.source == "internal"]
        alerts.read(0.3)


def wait_until_empty(connection: Connection, timeout: float = 30) -> None:
    """Wait until the group has no member: one that joins again while it is removed is forgotten later."""
    client, group = AdminClient(client_config(connection, "test")), connection.topic(PROCESSOR_GROUP)
    until = time.monotonic() + timeout
    while members := client.describe_consumer_groups([group])[group].result(10).members:
        assert time.monotonic() < until, members
        time.sleep(0.2)


def test_a_member_that_is_no_processor_is_given_nothing(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Garbage in place of a processor's data stops nobody, and an alert reports the member."""
    workers = start(connection, processes, rules_file(tmp_path), 2)
    generator, alerts = Generator(connection, hosts=16), Alerts(connection)
    stranger = Stranger(connection, assignor(PROTOCOL, b"\xff" * 100))
    stranger.join()
    stranger.wait_for_generation()
    generator.act(2)
    generator.flush()
    alerts.wait_for(len(generator.actions), 30)
    wait_for_alert(alerts, STRANGER, "are no processors and are given no partitions")
    stranger.leave()
    assert_exact(generator.actions, alerts)
    for each in workers:
        assert each.stop() == 0, each.errors
    alerts.close()


def test_processors_take_the_group_back_from_whoever_leads_it(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """A leader that assigns nothing is removed, and so are members with another protocol, which keep processors out."""
    generator, alerts = Generator(connection, hosts=16), Alerts(connection)
    leader = Stranger(connection, assignor(PROTOCOL, b"garbage", b"garbage"))
    leader.join()
    leader.wait_for_generation()
    workers = start(connection, processes, rules_file(tmp_path), 1)
    generator.act(1)
    generator.flush()
    alerts.wait_for(len(generator.actions), 40)
    wait_for_alert(alerts, STRANGER, "led the group")
    leader.leave()
    for each in workers:
        assert each.stop() == 0, each.errors

    wait_until_empty(connection)
    other = Stranger(connection, assignor("range", b""))
    other.join()
    other.wait_for_generation()
    workers = start(connection, processes, rules_file(tmp_path), 1)
    generator.act(1)
    generator.flush()
    alerts.wait_for(len(generator.actions), 40)
    wait_for_alert(alerts, STRANGER, "does not come together")
    other.leave()
    for each in workers:
        assert each.stop() == 0, each.errors
    alerts.close()


def test_a_member_that_falls_silent_holds_nobody_up_for_long(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """A member with long timeouts that answers nothing is removed once others wait for it."""
    workers = start(connection, processes, rules_file(tmp_path), 1)
    generator, alerts = Generator(connection, hosts=16), Alerts(connection)
    hours = {"session_timeout_ms": 1_800_000, "rebalance_timeout_ms": 3_600_000, "heartbeat_interval_ms": 1_000_000}
    stranger = Stranger(connection, assignor(PROTOCOL, b""), **hours)
    stranger.join()
    stranger.wait_for_generation()
    workers.append(processes.start(connection, "processor", rules=rules_file(tmp_path)))
    generator.act(1)
    generator.flush()
    wait_for_alert(alerts, STRANGER, "does not come together", 40)
    alerts.wait_for(len(generator.actions), 30)
    stranger.leave()
    for each in workers:
        assert each.stop() == 0, each.errors
    alerts.close()


def test_offsets_that_somebody_moves_ahead_skip_no_event(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """What a stranger commits while a processor hangs is reported, and everything is evaluated all the same."""
    (worker,) = start(connection, processes, rules_file(tmp_path), 1)
    generator, alerts = Generator(connection, hosts=16), Alerts(connection)
    generator.act(2)
    generator.flush()
    alerts.wait_for(len(generator.actions), 30)
    time.sleep(2)
    worker.signal(signal.SIGSTOP)
    generator.act(2)
    generator.flush()
    move_offsets_ahead(connection)
    worker.signal(signal.SIGCONT)
    alerts.wait_for(len(generator.actions), 30)
    found = wait_for_alert(alerts, OFFSETS_CHANGED, "was moved from")
    assert found.output_fields["kafka.group"] == connection.topic(PROCESSOR_GROUP)
    assert_exact(generator.actions, alerts)
    worker.kill()
    move_offsets_ahead(connection)
    (worker,) = start(connection, processes, rules_file(tmp_path), 1)
    wait_for_alert(alerts, OFFSETS_CHANGED, "by a client that is no processor")
    assert worker.stop() == 0, worker.errors
    alerts.close()


def test_a_member_that_commits_in_a_processors_name_skips_no_event(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """It moves all offsets ahead as if it were a processor, and leaves, so that partitions are assigned again."""
    (worker,) = start(connection, processes, rules_file(tmp_path), 1)
    generator, alerts = Generator(connection, hosts=16), Alerts(connection)
    stranger = Stranger(connection, assignor(PROTOCOL, b"garbage"))
    stranger.join()
    stranger.wait_for_generation()
    generator.act(1)
    generator.flush()
    alerts.wait_for(len(generator.actions), 30)
    topic = connection.topic(EVENTS)
    stranger.commit(topic, beyond(connection, topic), "lanner processor other-1")
    stranger.leave()
    generator.act(2)
    generator.flush()
    alerts.wait_for(len(generator.actions), 30)
    wait_for_alert(alerts, OFFSETS_CHANGED, "was moved from")
    assert_exact(generator.actions, alerts)
    assert worker.stop() == 0, worker.errors
    alerts.close()


def test_records_of_strangers_end_no_processor(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """Whatever is in the topics that processors look things up in, one that starts evaluates all events."""
    rules = rules_file(tmp_path)
    (first,) = start(connection, processes, rules, 1)
    generator, alerts = Generator(connection, hosts=16), Alerts(connection)
    generator.act(2)
    generator.flush()
    alerts.wait_for(len(generator.actions), 30)
    assert first.stop() == 0, first.errors
    host = b'[[],{},null,Infinity,"1",{},[]]'
    hostile = (
        *(b"", b"\xff", b"[" * 50_000, b"null", b"1e999", b"{}"),
        b'{"worker":"","active":"","ready":[],"since":Infinity,"rules":1,"waiting":"","lagging":[],"refused":""}',
        b'{"environment":[],"events":{"open":[{"tests":[{"of":"x","mask":Infinity,"in":[1e999],"is":true}]}]}}',
        # Last, since only the newest records of quiet hosts are read.
        b'{"position":0,"since":0,"until":0,"hosts":[%b]}' % host,
    )
    for topic in (QUIET_HOSTS, PROCESSORS, PUSHDOWN_FILTERS, SESSIONS, HOST_PINS, HOST_KEYS, SCHEMAS, PODS, RULES):
        for partition in range(PARTITIONS if topic == QUIET_HOSTS else 1):
            for number, value in enumerate((None, *hostile)):
                key = "current" if topic == RULES else f"key-{number}"
                generator.send(value, key, topic=topic, partition=partition)
    generator.flush()
    (second,) = start(connection, processes, rules, 1)
    generator.act(2)
    generator.flush()
    alerts.wait_for(len(generator.actions), 30)
    assert_exact(generator.actions, alerts)
    assert second.stop() == 0, second.errors
    assert "Traceback" not in second.errors
    alerts.close()


def move_offsets_ahead(connection: Connection) -> None:
    """Commit offsets behind the ends of all partitions of events, as soon as the group is empty."""
    client = AdminClient(client_config(connection, "stranger"))
    group, topic = connection.topic(PROCESSOR_GROUP), connection.topic(EVENTS)
    offsets = beyond(connection, topic)
    until = time.monotonic() + 30
    while True:
        answer = client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, offsets)])[group].result(10)
        if not any(each.error for each in answer.topic_partitions or ()):
            return
        assert time.monotonic() < until
        time.sleep(0.3)


def beyond(connection: Connection, topic: str) -> list[TopicPartition]:
    """Return offsets behind the end of each partition of a topic."""
    consumer = Consumer(client_config(connection, "stranger") | {"group.id": "none"})
    found = [
        TopicPartition(
            topic, number, consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1] + 1000
        )
        for number in range(PARTITIONS)
    ]
    consumer.close()
    return found
