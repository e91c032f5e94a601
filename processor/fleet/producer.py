"""What the processor sends: alerts, pre-matches, schemas, and what failed to the dead letters."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bus.clients.producers import AsyncProducer
from bus.connection import Connection
from bus.errors.refusals import MessageRefused, is_broker_error
from bus.errors.unavailable import fault_text
from bus.latency import Histogram
from bus.messages.alert import alert_message
from bus.messages.dead_letter import NOT_FETCHED, DeadLetterMessage, dead_letter
from bus.messages.headers import AVRO, Headers
from bus.schema_registry.topic import SCHEMA_HEADERS, schema_message
from bus.schema_registry.writer_schemas import WriterSchemas
from bus.topics import ALERTS, CORRELATE, EVENTS, PROCESSOR_DEAD_LETTERS, SCHEMAS
from processor.correlation.wire import PRE_MATCH_FORMAT, TICK_KEY
from processor.fleet.kafka.bounded_fetch import UnreadableRecord
from schemas.alert import ALERT_FORMAT, Alert
from schemas.codec import EVENT_BATCH_FORMAT
from schemas.encoding.wire import UNKNOWN_SCHEMA, reframed
from schemas.published_rules import PUBLISHED_RULES_SCHEMA

Sending = list["asyncio.Future[int]"]
_FORMATS = {EVENTS: EVENT_BATCH_FORMAT, ALERTS: ALERT_FORMAT, CORRELATE: PRE_MATCH_FORMAT}
_FLUSH_SECONDS = 5.0
MOST_HOSTS = 1000
"""Names come from hosts, one of which may be taken over and make them up."""
OTHER_HOSTS = "other hosts"


class ResultProducer:
    """The sending side of one processor; each call gives a future that ends when the broker has the message."""

    def __init__(self, connection: Connection, on_note: Callable[[str], None]) -> None:
        """Connect; must be made on the running loop. Raises BusUnavailable."""
        self.alerts = 0
        """Alerts sent."""
        self.by_rule: Counter[tuple[str, str]] = Counter()
        """Alerts sent, by rule and priority."""
        self.by_host: Counter[str] = Counter()
        """Alerts sent, by the host's name; of so many hosts, the rest under OTHER_HOSTS."""
        self.latency = Histogram()
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
        """Send an alert; one that can't be encoded ends the future with Refused."""
        self.alerts += 1
        self.by_rule[alert.rule, alert.priority] += 1
        is_counted = alert.hostname in self.by_host or len(self.by_host) < MOST_HOSTS
        self.by_host[alert.hostname if is_counted else OTHER_HOSTS] += 1
        self.latency.add(max(0.0, (time.time_ns() - alert.time) / 1e9))
        try:
            made = alert_message(alert)
        except Exception as error:  # noqa: BLE001  whatever a host sent that no encoder takes
            return _refused(f"an alert of rule {alert.rule} can't be encoded: {fault_text(error)}")
        return await self.send(ALERTS, made.key, self._framed(ALERTS, made.value), made.headers)

    async def pre_match(self, key: bytes, value: bytes) -> "asyncio.Future[int]":
        """Send an event on to the owner of its group."""
        return await self.send(CORRELATE, key, self._framed(CORRELATE, value), [("content-type", AVRO)])

    async def tick(self, partition: int, now: int) -> "asyncio.Future[int]":
        """Send a message that is there to be stamped by the broker, so that a quiet partition learns the time.

        Args:
            partition: of the correlate topic.
            now: this machine's clock, ns since the epoch; only the release before looks at it.
        """
        return await self.send(CORRELATE, TICK_KEY, b"%d" % now, [], partition=partition)

    def bury(self, message: Any, reason: str) -> "asyncio.Future[int]":
        """Send a message that failed to the dead letters, as it came, with the reason.

        Where the letter itself is refused, it goes without the message: topic, partition and offset say where that is.
        """
        self.dead_letters += 1
        if UNKNOWN_SCHEMA in reason and (why := self.schemas.why_not(message.value or b"")):
            reason = f"not decodable: {why}"
        self._on_note(f"{message.topic}[{message.partition}] at {message.offset}: to the dead letters: {reason[:200]}.")
        return asyncio.ensure_future(self._bury(message, reason))

    async def _bury(self, message: Any, reason: str) -> int:
        place = (message.topic, message.partition, message.offset)
        try:
            if isinstance(message.value, UnreadableRecord):
                return await self._sent(dead_letter(reason, place, None, None, facts=[(NOT_FETCHED, b"yes")]))
            return await self._sent(dead_letter(reason, place, message.key, message.value, headers_of(message)))
        except Exception as error:
            if is_broker_error(error):
                raise
        try:
            return await self._sent(dead_letter(reason, place, None, message.value).without_message())
        except MessageRefused as error:
            # Nothing that a host chose is in it: the topic is not as it has to be, and no message can mend that.
            self._on_note(f"{place[0]}[{place[1]}] at {place[2]}: not even its dead letter is accepted: {error}.")
            return -1

    async def _sent(self, letter: DeadLetterMessage) -> int:
        return await (await self.send(PROCESSOR_DEAD_LETTERS, letter.key, letter.value, letter.headers))

    def _framed(self, topic: str, value: bytes) -> bytes:
        header = self._headers.get(topic)
        return value if header is None else reframed(value, header, _FORMATS[topic].header)

    def _note_answer(self, sent: "asyncio.Future[int]") -> None:
        if not sent.cancelled() and sent.exception() is None:
            self.answered_at = time.monotonic()

    def close(self) -> None:
        """Send what is left; blocks for a moment."""
        self._producer.close(_FLUSH_SECONDS)


def why_not_fetched(message: Any) -> str:
    """Say why a message could not be read from its topic; empty where it could."""
    return f"not readable: {message.value.reason}" if isinstance(message.value, UnreadableRecord) else ""


async def answers_of(sending: Sequence["asyncio.Future[int]"]) -> list[int | MessageRefused]:
    """Wait until the broker has what was sent, and give its offsets, or Refused where it does not accept a message.

    Raises:
        BusUnavailable: or what else it is that says something about the broker.
    """
    answers = await asyncio.gather(*sending, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, MessageRefused):
            raise answer
    return [answer for answer in answers if isinstance(answer, (int, MessageRefused))]


def _refused(reason: str) -> "asyncio.Future[int]":
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    done.set_exception(MessageRefused(reason))
    return done


def headers_of(message: Any) -> Iterable[tuple[str, bytes]]:
    """Give the headers of a message as Faust hands it over."""
    headers: Iterable[tuple[str, bytes]]
    headers = message.headers.items() if isinstance(message.headers, dict) else message.headers or ()
    return headers
