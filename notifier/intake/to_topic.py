"""Produces incoming alerts to the topic `alerts`; they are accepted once every replica has them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus.clients.event_loop.producer import AsyncProducer
from bus.connection import Connection
from bus.errors.refusals import MessageRefused
from bus.errors.unavailable import BusUnavailable
from bus.messages.alert import alert_message
from bus.schema_registry.client import Registration, Registry
from bus.schema_registry.topic import SCHEMA_HEADERS, schema_message
from bus.topics import ALERTS, SCHEMAS
from notifier.intake.server import IntakeRefused, Take
from schemas.alert import ALERT_FORMAT, Alert
from schemas.encoding.wire import reframed
from schemas.text.notes import OnNote

CLOSE_SECONDS = 5.0


@asynccontextmanager
async def into_topic(connection: Connection, report: OnNote) -> AsyncIterator[Take]:
    """Open a producer on the running loop; report is called if the schema registry doesn't answer.

    Raises:
        BusUnavailable: the client or the registry can't be set up.
    """
    topic = connection.topic(ALERTS)
    producer = AsyncProducer(connection, "lanner-intake", on_note=report)
    registration = None
    if connection.registry is not None:
        registration = Registration(Registry(connection.registry), topic, ALERT_FORMAT.schema, report)
    key, value = schema_message(ALERT_FORMAT.schema)
    await producer.send(connection.topic(SCHEMAS), key, value, list(SCHEMA_HEADERS))

    async def take(alert: Alert) -> None:
        made = alert_message(alert)
        data = made.value
        if registration is not None:
            if registration.header is None:
                raise OSError("the schema registry does not answer")
            data = reframed(data, registration.header, ALERT_FORMAT.header)
        try:
            await (await producer.send(topic, made.key, data, made.headers))
        except MessageRefused as error:
            raise IntakeRefused(f"the broker rejects it: {error}") from None
        except BusUnavailable as error:
            raise OSError(str(error)) from None

    try:
        yield take
    finally:
        if registration is not None:
            registration.close()
        producer.close(CLOSE_SECONDS)
