import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient, NewTopic

from bus.clients.errors import MessageRefused
from bus.clients.producers import Outgoing, deliver, make_producer, producer_config, resending_producer
from bus.clients.readers import TopicReader
from bus.connection import Connection, client_config
from tests.cluster.answering_links import RefusingLink
from tests.cluster.broker import Broker
from tests.ports import free_port

FIRST, SECOND = b"the first", b"the second"
QUEUE_BYTES = 1 << 20

Offsets = dict[bytes | None, int | None]
"""The offsets of acknowledged messages, as they were reported."""


Sender = tuple[Callable[[bytes], object], Callable[[float], object]]
"""Sends a message; processes acknowledgements for some seconds."""


def by_client(topic: str, connection: Connection, offsets: Offsets) -> Sender:
    """Return a sender that is the client alone."""
    producer = make_producer(producer_config(connection, "test", queue_bytes=QUEUE_BYTES))

    def report(_: object, message: Message) -> None:
        offsets[message.value()] = message.offset()

    return lambda value: producer.produce(topic, value, on_delivery=report), producer.poll


def by_resending(topic: str, connection: Connection, offsets: Offsets) -> Sender:
    """Return a sender that replaces failed clients."""
    producer = resending_producer(connection, "test", queue_bytes=QUEUE_BYTES)

    def send(value: bytes) -> None:
        producer.send(Outgoing(topic, None, value, []), lambda _, offset: offsets.update({value: offset}))

    return send, producer.poll


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, RefusingLink]]:
    """Provide a broker that clients reach by a proxy."""
    port = free_port()
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    with RefusingLink(port) as proxy:
        broker.add_listeners({"proxied": (port, proxy.port)})
        broker.start()
        yield broker, proxy
        broker.remove()


def refused_first(
    link: tuple[Broker, RefusingLink], topic: str, make: Callable[[Connection, Offsets], Sender]
) -> tuple[Offsets, list[bytes | None]]:
    """Send two messages of which the broker refuses the first one for now.

    Returns:
        What was reported, and what is in the topic.
    """
    broker, proxy = link
    found: Offsets = {}
    direct = Connection(bootstrap_servers=broker.address)
    create(direct, topic)
    proxy.refuse(FIRST)
    send, poll = make(replace(direct, bootstrap_servers=f"127.0.0.1:{proxy.port}", compression="none"), found)
    send(FIRST)
    deadline = time.monotonic() + 60
    while not proxy.has_refused:
        assert time.monotonic() < deadline
        poll(0.01)
    # It is a request of its own, since the first has left.
    send(SECOND)
    while len(found) < 2:
        assert time.monotonic() < deadline
        poll(0.01)
    return found, values_of(direct, topic)


def create(connection: Connection, topic: str, **settings: str) -> None:
    """Create a topic with one partition. settings: by Kafka's names, with underscores."""
    named = {name.replace("_", "."): value for name, value in settings.items()}
    admin = AdminClient(client_config(connection, "test"))
    admin.create_topics([NewTopic(topic, 1, 1, config=named)])[topic].result()


def values_of(connection: Connection, topic: str) -> list[bytes | None]:
    """Read a topic."""
    reader = TopicReader(connection, topic, whole=True)
    values = []
    while not reader.has_read_all:
        if (message := reader.poll(1)) is not None:
            values.append(message.value())
    reader.close()
    return values


def test_a_client_reports_a_lost_message_as_delivered(link: tuple[Broker, RefusingLink]) -> None:
    """With several requests on the way, only the missing offset shows that the first message is lost."""
    found, values = refused_first(link, "several", partial(by_client, "several"))
    assert found == {FIRST: None, SECOND: 0}
    assert values == [SECOND]


def test_what_has_no_offset_is_sent_again(link: tuple[Broker, RefusingLink]) -> None:
    """A producer that resends reports the first message when the broker has it."""
    found, values = refused_first(link, "resent", partial(by_resending, "resent"))
    assert found == {SECOND: 0, FIRST: 1}
    assert values == [SECOND, FIRST]


def test_what_the_broker_refuses_together_is_sent_again_separately(link: tuple[Broker, RefusingLink]) -> None:
    """Batches are larger than the topic accepts, and one message is: it alone is refused."""
    connection = Connection(bootstrap_servers=link[0].address, compression="none")
    create(connection, "limited", max_message_bytes="20000")
    producer = resending_producer(connection, "test", queue_bytes=QUEUE_BYTES)
    values: list[bytes | None] = [bytes([number]) * (30_000 if number == 50 else 1_000) for number in range(100)]
    failures = deliver(producer, [Outgoing("limited", None, value, []) for value in values], 60)
    assert [number for number, failure in enumerate(failures) if failure is not None] == [50]
    assert isinstance(failures[50], MessageRefused)
    assert set(values_of(connection, "limited")) == {*values[:50], *values[51:]}
