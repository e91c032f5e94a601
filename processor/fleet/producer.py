"""Sends what a processor makes: alerts, pre-matches, schemas and dead letters."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bus.clients.errors import MessageRefused, is_broker_error
from bus.clients.event_loop import AsyncProducer
from bus.clients.schema_registry import schema_message
from bus.clients.writer_schemas import WriterSchemas
from bus.connection import Connection, fault_text
from bus.messages import AVRO, JSON_HEADERS, NOT_FETCHED, DeadLetterMessage, Headers, alert_message, dead_letter
from bus.topics import ALERTS, CORRELATE, EVENTS, PROCESSOR_DEAD_LETTERS, SCHEMAS, SESSIONS
from foundation.histogram import Histogram
from foundation.text import OnNote
from processor.fleet.kafka.fetched import UnreadableRecord
from processor.fleet.message_stage import MessageResult
from processor.matching.wire import PRE_MATCH_FORMAT, TICK_KEY
from schemas.alert import ALERT_FORMAT, Alert
from schemas.encoding.batch import EVENT_BATCH_FORMAT
from schemas.encoding.wire import UNKNOWN_SCHEMA, reframed
from schemas.published_rules import FORMAT_1_SCHEMA

Sending = list["asyncio.Future[int]"]
_FORMATS = {EVENTS: EVENT_BATCH_FORMAT, ALERTS: ALERT_FORMAT, CORRELATE: PRE_MATCH_FORMAT}
_FLUSH_SECONDS = 5.0
MOST_HOSTS = 1000
"""A limit, since a compromised host can invent host names."""
OTHER_HOSTS = "other hosts"


class ResultProducer:
    """Sends the results of one processor; each call returns a future that ends once the broker has the message."""

    def __init__(self, connection: Connection, on_note: OnNote, cluster_name: str = "") -> None:
        """Connect; call it on the running loop. Raises BusUnavailable.

        Args:
            connection: the broker.
            on_note: receives messages for an operator.
            cluster_name: for alerts whose pod's cluster is not known.
        """
        self.alerts = 0
        """Alerts sent."""
        self.by_rule: Counter[tuple[str, str]] = Counter()
        """Alerts sent, by rule and priority."""
        self.by_host: Counter[str] = Counter()
        """Alerts sent by host name, for at most MOST_HOSTS hosts; the others are counted under OTHER_HOSTS."""
        self.latency = Histogram()
        """Seconds from an event until its alert was passed to the Kafka client."""
        self.dead_letters = 0
        self.answered_at = time.monotonic()
        """When the broker last acknowledged a message, monotonic s."""
        self.requests: Callable[[Alert], Sequence[tuple[str, bytes, bytes, Headers]]] = lambda _: ()
        """Returns topic, key, value and headers of what an alert requests of action policies."""
        self._connection = connection
        self._on_note = on_note
        self._cluster_name = cluster_name
        self.schemas = WriterSchemas(connection, (EVENT_BATCH_FORMAT, PRE_MATCH_FORMAT))
        """Names of the topics that are read."""
        self._headers: dict[str, bytes] = {}
        self._producer = AsyncProducer(connection, "lanner-processor", on_note=on_note)

    async def announce(self) -> None:
        """Publish the schemas of sent messages, and those of clients that have no right to write schemas."""
        for schema in (*(each.schema for each in _FORMATS.values()), FORMAT_1_SCHEMA):
            key, value = schema_message(schema)
            await self.send(SCHEMAS, key, value, JSON_HEADERS)
        if (registry := self.schemas.registry) is not None:
            for name, each in _FORMATS.items():
                topic = self._connection.topic(name)
                self._headers[name] = await asyncio.to_thread(registry.register, topic, each.schema)

    async def read(self, message: Any) -> bytes:
        """Return a message's value, translated to the schema of this release once its own schema is known."""
        return await self.schemas.translated(message.value, self._on_note)

    async def send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, *, partition: int = -1
    ) -> "asyncio.Future[int]":
        """Send any message. topic: without prefix."""
        sent = await self._producer.send(self._connection.topic(topic), key, value, headers, partition=partition)
        sent.add_done_callback(self._note_answer)
        return sent

    async def alert(self, alert: Alert) -> "asyncio.Future[int]":
        """Send an alert; if it cannot be encoded, the future raises MessageRefused."""
        self.alerts += 1
        self.by_rule[alert.rule, alert.priority] += 1
        is_counted = alert.hostname in self.by_host or len(self.by_host) < MOST_HOSTS
        self.by_host[alert.hostname if is_counted else OTHER_HOSTS] += 1
        self.latency.add_since(alert.time, time.time_ns())
        alert = alert.in_cluster(self._cluster_name)
        try:
            made = alert_message(alert)
        except Exception as error:  # noqa: BLE001  a host can send values that cannot be encoded
            return _refused(f"an alert of rule {alert.rule} cannot be encoded: {fault_text(error)}")
        sent = await self.send(ALERTS, made.key, self._framed(ALERTS, made.value), made.headers)
        requested = [await self.send(*each) for each in self.requests(alert)]
        return asyncio.ensure_future(_all_sent(sent, requested)) if requested else sent

    async def pre_match(self, key: bytes, value: bytes) -> "asyncio.Future[int]":
        """Send an event to the owner of its group."""
        return await self.send(CORRELATE, key, self._framed(CORRELATE, value), [("content-type", AVRO)])

    async def results(self, made: MessageResult, sending: Sending) -> None:
        """Send what the evaluation of a message made; each future is added to sending."""
        for alert in made.alerts:
            sending.append(await self.alert(alert))
        for key, pre_match in made.pre_matches:
            sending.append(await self.pre_match(key, pre_match))
        for key, record in made.sessions:
            sending.append(await self.send(SESSIONS, key, record, JSON_HEADERS))

    async def tick(self, partition: int, now: int) -> "asyncio.Future[int]":
        """Send a message whose only purpose is its broker timestamp, so that a quiet partition learns the time.

        Args:
            partition: of the correlate topic.
            now: this machine's clock, ns since the epoch; only the previous release reads it.
        """
        return await self.send(CORRELATE, TICK_KEY, b"%d" % now, [], partition=partition)

    def send_dead_letter(self, message: Any, reason: str) -> "asyncio.Future[int]":
        """Send a failed message to the dead letters as received, with the reason.

        If the dead letter is refused, it is sent without the message: topic, partition and offset identify it.
        """
        self.dead_letters += 1
        if UNKNOWN_SCHEMA in reason and (why := self.schemas.why_not(message.value or b"")):
            reason = f"not decodable: {why}"
        self._on_note(
            f"{message.topic}[{message.partition}] at {message.offset}: written to the dead letters: {reason[:200]}."
        )
        return asyncio.ensure_future(self._dead_letter(message, reason))

    async def _dead_letter(self, message: Any, reason: str) -> int:
        position = (message.topic, message.partition, message.offset)
        try:
            if isinstance(message.value, UnreadableRecord):
                return await self._sent(dead_letter(reason, position, None, None, facts=[(NOT_FETCHED, b"yes")]))
            return await self._sent(dead_letter(reason, position, message.key, message.value, headers_of(message)))
        except Exception as error:
            if is_broker_error(error):
                raise
        try:
            return await self._sent(dead_letter(reason, position, None, message.value).without_message())
        except MessageRefused as error:
            # It has nothing that a host chose, so the topic is misconfigured, and sending again would not help.
            self._on_note(f"{position[0]}[{position[1]}] at {position[2]}: its dead letter was refused: {error}.")
            return -1

    async def _sent(self, message: DeadLetterMessage) -> int:
        return await (await self.send(PROCESSOR_DEAD_LETTERS, message.key, message.value, message.headers))

    def _framed(self, topic: str, value: bytes) -> bytes:
        header = self._headers.get(topic)
        return value if header is None else reframed(value, header, _FORMATS[topic].header)

    def _note_answer(self, sent: "asyncio.Future[int]") -> None:
        if not sent.cancelled() and sent.exception() is None:
            self.answered_at = time.monotonic()

    def close(self) -> None:
        """Send what is queued; blocks for up to 5 s."""
        self._producer.close(_FLUSH_SECONDS)


def why_not_fetched(message: Any) -> str:
    """Return why a message could not be read from its topic; empty if it could."""
    return f"not readable: {message.value.reason}" if isinstance(message.value, UnreadableRecord) else ""


async def answers_of(sending: Sequence["asyncio.Future[int]"]) -> list[int | MessageRefused]:
    """Wait until the broker has answered; return offsets, or MessageRefused for messages it does not accept.

    Raises:
        BusUnavailable: or another error of the broker.
    """
    answers = await asyncio.gather(*sending, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, MessageRefused):
            raise answer
    return [answer for answer in answers if isinstance(answer, (int, MessageRefused))]


async def _all_sent(first: "asyncio.Future[int]", others: Sequence["asyncio.Future[int]"]) -> int:
    """Wait for several messages, and return the offset of the first. Raises what any of them raises."""
    return (await asyncio.gather(first, *others))[0]


def _refused(reason: str) -> "asyncio.Future[int]":
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    done.set_exception(MessageRefused(reason))
    return done


def headers_of(message: Any) -> Iterable[tuple[str, bytes]]:
    """Return the headers of a message as Faust delivers it."""
    headers: Iterable[tuple[str, bytes]]
    headers = message.headers.items() if isinstance(message.headers, dict) else message.headers or ()
    return headers
