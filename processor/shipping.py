"""What the processor sends: alerts, pre-matches, schemas, and what failed to the dead letters."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from bus.alert_message import alert_message
from bus.connection import Connection
from bus.durations import Durations
from bus.headers import AVRO, Headers, dead_letter
from bus.producing import AsyncProducer
from bus.schema_topic import SCHEMA_HEADERS, schema_message
from bus.topics import ALERTS, CORRELATE, EVENTS, PROCESSOR_DEAD_LETTERS, SCHEMAS
from bus.writer_schemas import WriterSchemas
from processor.correlation.wire import PRE_MATCH_FORMAT
from schemas.alert import ALERT_FORMAT, Alert
from schemas.codec import EVENT_BATCH_FORMAT
from schemas.published_rules import PUBLISHED_RULES_SCHEMA
from schemas.wire import UNKNOWN_SCHEMA, reframed

Sending = list["asyncio.Future[int]"]
TICK_KEY = b"tick"
_FORMATS = {EVENTS: EVENT_BATCH_FORMAT, ALERTS: ALERT_FORMAT, CORRELATE: PRE_MATCH_FORMAT}
_FLUSH_SECONDS = 5.0
MOST_HOSTS = 1000
"""Names come from hosts, one of which may be taken over and make them up."""
OTHER_HOSTS = "other hosts"


class Shipping:
    """The sending side of one processor; each call gives a future that ends when the broker has the message."""

    def __init__(self, connection: Connection, on_note: Callable[[str], None]) -> None:
        """Connect; must be made on the running loop. Raises BusUnavailable."""
        self.alerts = 0
        """Alerts sent."""
        self.by_rule: Counter[tuple[str, str]] = Counter()
        """Alerts sent, by rule and priority."""
        self.by_host: Counter[str] = Counter()
        """Alerts sent, by the host's name; of so many hosts, the rest under OTHER_HOSTS."""
        self.latency = Durations()
        """From an alert's event until it was handed to the client."""
        self.dead_letters = 0
        self.answered_at = time.monotonic()
        """When the broker last said that it has a message."""
        self._connection = connection
        self._on_note = on_note
        self.schemas = WriterSchemas(connection, (EVENT_BATCH_FORMAT, PRE_MATCH_FORMAT))
        """Of what is read."""
        self._headers: dict[str, bytes] = {}
        self._producer = AsyncProducer(connection, "lanner-processor", on_note=on_note)

    async def announce(self) -> None:
        """Publish the schemas of what is sent, and of what others send who may write no schema."""
        for schema in (*(each.schema for each in _FORMATS.values()), PUBLISHED_RULES_SCHEMA):
            key, value = schema_message(schema)
            await self.send(SCHEMAS, key, value, list(SCHEMA_HEADERS))
        if (registry := self.schemas.registry) is not None:
            for name, each in _FORMATS.items():
                topic = self._connection.topic(name)
                self._headers[name] = await asyncio.to_thread(registry.register, topic, each.schema)

    async def read(self, message: Any) -> bytes:
        """Give a message's value as this release would have written it, as soon as its schema is known."""
        return await self.schemas.translated(message.value, self._on_note)

    async def send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, *, partition: int = -1
    ) -> "asyncio.Future[int]":
        """Send any message. topic: without prefix."""
        sent = await self._producer.send(self._connection.topic(topic), key, value, headers, partition=partition)
        sent.add_done_callback(self._note_answer)
        return sent

    async def alert(self, alert: Alert) -> "asyncio.Future[int]":
        """Send an alert."""
        self.alerts += 1
        self.by_rule[alert.rule, alert.priority] += 1
        is_counted = alert.hostname in self.by_host or len(self.by_host) < MOST_HOSTS
        self.by_host[alert.hostname if is_counted else OTHER_HOSTS] += 1
        self.latency.add(max(0.0, (time.time_ns() - alert.time) / 1e9))
        made = alert_message(alert)
        return await self.send(ALERTS, made.key, self._framed(ALERTS, made.value), made.headers)

    async def pre_match(self, key: bytes, value: bytes) -> "asyncio.Future[int]":
        """Send an event on to the owner of its group."""
        return await self.send(CORRELATE, key, self._framed(CORRELATE, value), [("content-type", AVRO)])

    async def tick(self, partition: int, now: int) -> "asyncio.Future[int]":
        """Tell a partition of the correlate topic the time, ns since the epoch."""
        return await self.send(CORRELATE, TICK_KEY, b"%d" % now, [], partition=partition)

    async def bury(self, message: Any, reason: str) -> "asyncio.Future[int]":
        """Send a message that failed to the dead letters, as it came, with the reason."""
        self.dead_letters += 1
        if UNKNOWN_SCHEMA in reason and (why := self.schemas.why_not(message.value or b"")):
            reason = f"not decodable: {why}"
        self._on_note(f"{message.topic}[{message.partition}] at {message.offset}: to the dead letters: {reason[:200]}.")
        headers = dead_letter(reason, message.topic, message.partition, message.offset, headers_of(message))
        return await self.send(PROCESSOR_DEAD_LETTERS, message.key, message.value or b"", headers)

    def _framed(self, topic: str, value: bytes) -> bytes:
        header = self._headers.get(topic)
        return value if header is None else reframed(value, header, _FORMATS[topic].header)

    def _note_answer(self, sent: "asyncio.Future[int]") -> None:
        if not sent.cancelled() and sent.exception() is None:
            self.answered_at = time.monotonic()

    def close(self) -> None:
        """Send what is left; blocks for a moment."""
        self._producer.close(_FLUSH_SECONDS)


def headers_of(message: Any) -> Iterable[tuple[str, bytes]]:
    """Give the headers of a message as Faust hands it over."""
    headers: Iterable[tuple[str, bytes]]
    headers = message.headers.items() if isinstance(message.headers, dict) else message.headers or ()
    return headers
