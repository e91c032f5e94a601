"""Producers: acknowledged by all replicas, and idempotent."""

from typing import Any

from confluent_kafka import KafkaException, Producer

from bus.clients.renewal.connection_state import ConnectionState
from bus.clients.resending import ResendingProducer
from bus.clients.retry import Retry
from bus.connection import Connection, client_config
from bus.errors.client_errors import ClientErrors, unusable
from bus.topics import BATCH_BYTES, MAX_MESSAGE_BYTES
from schemas.text.notes import OnNote, ignore_note

LINGER_MS = 5


def producer_config(connection: Connection, client_id: str, *, queue_bytes: int) -> dict[str, Any]:
    """Return the settings of a producer.

    A broker that restarts may refuse a producer's first message in a partition, since it does not lead it yet, and
    accept the second, since it knows nothing of that producer. The client then reports the first as delivered as well,
    without an offset, although it is lost. A sender must send what has no offset again, as ResendingProducer does, or
    wait for the answer to its first message.

    Args:
        connection: the broker.
        client_id: shown in the broker's logs.
        queue_bytes: limit of the messages that wait for a slow broker.
    """
    return client_config(connection, client_id) | {
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": connection.compression,
        "linger.ms": LINGER_MS,
        # A message never expires here: the caller decides when to stop waiting.
        "message.timeout.ms": 0,
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "batch.size": BATCH_BYTES,
        "queue.buffering.max.kbytes": max(queue_bytes // 1024, 1024),
        # The partitioner of Java's clients and Faust, so that a key has one partition whichever client writes.
        "partitioner": "murmur2_random",
    }


def make_producer(config: dict[str, Any]) -> Producer:
    """Create a producer. Raises BusUnavailable if the client can't use the settings."""
    try:
        return Producer(config)
    except KafkaException as error:
        raise unusable(error.args[0]) from None


def resending_producer(
    connection: Connection,
    client_id: str,
    *,
    queue_bytes: int,
    on_note: OnNote = ignore_note,
) -> ResendingProducer:
    """Create a producer that replaces failed clients. Raises BusUnavailable if the client can't use the settings.

    Args:
        connection: the broker.
        client_id: shown in the broker's logs.
        queue_bytes: limit of the messages that wait for a slow broker.
        on_note: receives messages for the operator: that sending is blocked, and that it continues.
    """
    client_errors = ClientErrors(connection)
    state = ConnectionState()
    config = producer_config(connection, client_id, queue_bytes=queue_bytes) | {"error_cb": client_errors.on_error}
    return ResendingProducer(
        lambda: make_producer(config | state.options),
        lambda: make_producer(config | {"batch.num.messages": 1}),
        client_errors,
        state,
        Retry("Sending", on_note),
    )
