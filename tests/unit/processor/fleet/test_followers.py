"""What processors take of topics that they follow."""

import asyncio

from confluent_kafka import Producer

from bus.connection import Connection
from bus.topics import SESSIONS
from foundation.text import ignore_note
from processor.fleet.followers import RecordsFollower
from processor.sessions.records import encode_session
from processor.sessions.sessions import Sessions
from tests.unit.processor.sessions import shells


def test_a_running_processor_follows_a_topic_from_its_beginning() -> None:
    """Here, the broker is the one that the client library simulates."""
    producer = Producer({"test.mock.num.brokers": "1", "bootstrap.servers": "unused:1", "log_level": 0})
    (broker,) = producer.list_topics(timeout=20).brokers.values()
    connection = Connection(bootstrap_servers=f"{broker.host}:{broker.port}", prefix="t.")
    told, sessions, start = Sessions(), Sessions(), shells.started(1)
    told.see_event(shells.requested(0))
    for record in told.records():
        producer.produce("t.sessions", encode_session(record)[1], partition=0)
    producer.produce("t.sessions", b"another", partition=0)
    assert producer.flush(20) == 0

    async def follow() -> None:
        follower = RecordsFollower(connection, SESSIONS, sessions.put, on_note=ignore_note)
        follower.start()
        await follower.ready()
        follower.finish()

    asyncio.run(follow())

    assert sessions.see_batch(start) is not None
    assert sessions.refused == 1
