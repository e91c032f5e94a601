"""A client without a connection for long is replaced: librdkafka's may have lost its brokers permanently."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, TopicPartition

from bus.administration import create_missing
from bus.clients import availability
from bus.clients.readers import AssignedConsumer, make_consumer
from bus.connection import Connection
from bus.topics import ALERTS, DAY_MS, plan
from foundation.text import ignore_note
from notifier import kafka_queue
from notifier.sink import SinkStats
from schemas.alert import encode_alert
from tests.cluster.actions import Generator
from tests.cluster.answering_links import ForgettingLink
from tests.cluster.broker import Broker
from tests.cluster.conftest import with_topics
from tests.cluster.network import Link
from tests.ports import free_port
from tests.unit.alerts import alert

PARTITIONS = 2


@pytest.fixture
def cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Connection, Connection, Link]]:
    """Provide a direct connection, and one through a proxy; clients are replaced after a second."""
    monkeypatch.setattr(availability, "STALLED_SECONDS", 1.0)
    monkeypatch.setattr(availability, "STATISTICS_MS", 100)
    port = free_port()
    broker = Broker(tmp_path / "kafka")
    with Link(port) as proxy:
        broker.add_listeners({"proxied": (port, proxy.port)})
        broker.start()
        direct = with_topics(broker, PARTITIONS)
        yield direct, replace(direct, bootstrap_servers=f"127.0.0.1:{proxy.port}"), proxy
        broker.remove()


@pytest.fixture
def forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Connection, Connection, ForgettingLink]]:
    """Provide a direct connection, and one through a proxy that can answer that there is no broker."""
    monkeypatch.setattr(availability, "FORGOTTEN_SECONDS", 0.3)
    monkeypatch.setattr(availability, "STATISTICS_MS", 100)
    port = free_port()
    broker = Broker(tmp_path / "kafka")
    direct = Connection(bootstrap_servers=broker.address)
    with ForgettingLink(port, direct.topic(ALERTS)) as proxy:
        broker.add_listeners({"proxied": (port, proxy.port)})
        broker.start()
        create_missing(direct, plan(direct.prefix, PARTITIONS, 1, DAY_MS))
        yield direct, replace(direct, bootstrap_servers=f"127.0.0.1:{proxy.port}"), proxy
        broker.remove()


def until(happened: Callable[[], object]) -> None:
    """Wait until something happened."""
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def publish(connection: Connection, *ids: str) -> None:
    """Publish alerts, each under its id."""
    generator = Generator(connection, hosts=0)
    for each in ids:
        generator.send(encode_alert(alert(id=each)), each, topic=ALERTS)
    generator.flush()


def test_a_reader_continues_at_its_positions(cut_off: tuple[Connection, Connection, Link]) -> None:
    """It neither repeats nor skips messages, also where it has only reached the end of a partition."""
    direct, proxied, proxy = cut_off
    clients: list[Consumer] = []

    def make(options: dict[str, Any]) -> Consumer:
        clients.append(make_consumer(proxied, "test", options=options))
        return clients[-1]

    reader = AssignedConsumer(make)
    reader.assign(TopicPartition(direct.topic(ALERTS), number, OFFSET_END) for number in range(PARTITIONS))
    read: list[bytes | None] = []
    ends: set[int | None] = set()

    def poll() -> None:
        message = reader.poll(0.1)
        if message is not None and message.error() is None:
            read.append(message.key())
        elif message is not None:
            ends.add(message.partition())

    until(lambda: poll() or len(ends) == PARTITIONS)
    publish(direct, "a1")
    until(lambda: poll() or read)
    proxy.sever()
    until(lambda: poll() or len(clients) > 2)
    publish(direct, "a2", "a3", "a4")
    proxy.heal()
    until(lambda: poll() or len(read) == 4)
    assert sorted(read, key=str) == [b"a1", b"a2", b"a3", b"a4"]
    reader.close()


def test_a_reader_continues_after_a_broker_that_knew_none(
    forgotten: tuple[Connection, Connection, ForgettingLink],
) -> None:
    """A broker that restarts may answer that there is none; the client then connects to none, and another one reads."""
    direct, proxied, proxy = forgotten
    # It asks when it has to, or after five minutes.
    options = {"topic.metadata.refresh.interval.ms": 200}
    clients: list[Consumer] = []

    def make(given: dict[str, Any]) -> Consumer:
        clients.append(make_consumer(proxied, "test", options=given | options))
        return clients[-1]

    reader = AssignedConsumer(make)
    reader.assign(TopicPartition(direct.topic(ALERTS), number, OFFSET_BEGINNING) for number in range(PARTITIONS))
    read: list[bytes | None] = []

    def poll() -> None:
        message = reader.poll(0.1)
        if message is not None and message.error() is None:
            read.append(message.key())

    publish(direct, "a1")
    until(lambda: poll() or read)
    proxy.forgets = True
    until(lambda: poll() or len(clients) > 1)
    proxy.forgets = False
    publish(direct, "a2", "a3")
    until(lambda: poll() or len(read) == 3)
    assert sorted(read, key=str) == [b"a1", b"a2", b"a3"]
    reader.close()


def test_a_notifier_joins_its_group_again(
    cut_off: tuple[Connection, Connection, Link], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each alert is delivered once."""
    direct, proxied, proxy = cut_off
    clients: list[Consumer] = []

    def counted(config: dict[str, Any]) -> Consumer:
        clients.append(Consumer(config))
        return clients[-1]

    monkeypatch.setattr(kafka_queue, "Consumer", counted)
    queue = kafka_queue.KafkaQueue(proxied, "file", tmp_path, SinkStats(), ignore_note)
    taken: list[str] = []

    def deliver() -> None:
        queued = queue.fetch(10, 0.1)
        taken.extend(each.alert.id for each in queued)
        queue.acknowledge(queued)

    publish(direct, "a1", "a2")
    until(lambda: deliver() or len(taken) == 2)
    proxy.sever()
    until(lambda: deliver() or len(clients) > 2)
    publish(direct, "a3", "a4", "a5")
    proxy.heal()
    until(lambda: deliver() or len(taken) == 5)
    assert sorted(taken) == ["a1", "a2", "a3", "a4", "a5"]
    queue.close()
