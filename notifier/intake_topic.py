"""Alerts that come in, put on the alerts' topic: taken when every replica has them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from confluent_kafka import KafkaException

from bus.alert_message import alert_message
from bus.connection import Connection
from bus.producing import AsyncProducer, Refused
from bus.topics import ALERTS
from notifier.intake import IntakeRefused, Take
from schemas.alert import Alert

CLOSE_SECONDS = 5.0


@asynccontextmanager
async def into_topic(connection: Connection) -> AsyncIterator[Take]:
    """Open a producer on the running loop. Raises BusUnavailable."""
    producer = AsyncProducer(connection, "lanner-intake")

    async def take(alert: Alert) -> None:
        made = alert_message(alert)
        try:
            await (await producer.send(connection.topic(ALERTS), made.key, made.value, made.headers))
        except Refused as error:
            raise IntakeRefused(f"the broker refuses it: {error}") from None
        except KafkaException as error:
            raise OSError(error.args[0].str()) from None

    try:
        yield take
    finally:
        producer.close(CLOSE_SECONDS)
