"""Messages that the client itself refuses; no broker is needed."""

import asyncio

import pytest
from confluent_kafka import KafkaError, KafkaException

from bus.clients.errors import MessageRefused, is_broker_error, meaning
from bus.clients.event_loop import AsyncProducer
from bus.connection import BusUnavailable, Connection
from bus.messages import Headers
from bus.topics import MAX_MESSAGE_BYTES

NOWHERE = Connection(bootstrap_servers="127.0.0.1:1")


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (b"A" * (MAX_MESSAGE_BYTES + 1), []),
        (b"", [("ce_source", b"A" * (MAX_MESSAGE_BYTES + 1))]),
        (b"", [("ce_source", "a half of a pair \ud800")]),
    ],
    ids=["value", "headers", "text of a header"],
)
def test_what_the_client_refuses_comes_through_the_future(value: bytes, headers: Headers) -> None:
    """A refusal by the client is reported like one by the broker."""

    async def send() -> "asyncio.Future[int]":
        producer = AsyncProducer(NOWHERE, "test")
        try:
            sent = await producer.send("topic", b"key", value, headers)
            await asyncio.wait([sent], timeout=5)
            assert isinstance(sent.exception(), MessageRefused)
            return sent
        finally:
            producer.close(0)

    assert asyncio.run(send()).done()


def test_which_failures_are_the_brokers_and_which_a_messages() -> None:
    """Only broker errors may end or pause a process."""
    for error in (
        KafkaException(KafkaError(KafkaError._TRANSPORT)),
        KafkaException(KafkaError(KafkaError.NOT_COORDINATOR)),
        BusUnavailable("it is away", "wait"),
        asyncio.CancelledError(),
    ):
        assert is_broker_error(error)
    for problem in (MessageRefused("too large"), OverflowError("int too big"), KeyError("x"), MemoryError()):
        assert not is_broker_error(problem)
    assert isinstance(meaning(KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))), MessageRefused)
    assert isinstance(meaning(UnicodeEncodeError("utf-8", "\ud800", 0, 1, "x" * 100_000)), MessageRefused)
    assert len(str(meaning(ValueError("x" * 100_000)))) < 1000
