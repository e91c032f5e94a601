"""The dead-letter topics: list dead letters, replay them, and mark them as settled.

A dead letter is settled by a later message in the same topic (no value, header `settles` with the dead letter's
offset). So every reader sees the same state, the topic records who settled what, and a mark never expires before its
dead letter does.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from confluent_kafka import Message

from bus.clients.errors import MessageRefused
from bus.clients.producers import Outgoing, deliver, resending_producer
from bus.clients.readers import SilenceTimeout, TopicReader, newest_before
from bus.connection import Connection
from bus.messages import NOT_FETCHED, OMITTED, ORIGINAL, Headers
from foundation.errors import LannerError

SETTLES, HOW, NOTE = "settles", "how", "note"
How = Literal["replayed", "dropped"]
MAX_NOTE = 500
_POLL_SECONDS = 0.2
_FLUSH_SECONDS = 30.0
_FETCH_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """A dead letter as stored in its topic."""

    offset: int
    at: float
    """When it was written, wall clock, seconds."""
    key: bytes | None
    value: bytes
    headers: Mapping[str, bytes]
    """Reason, topic, partition and offset of the failed message, and what the stage added."""
    original: Headers
    """The headers of the failed message."""

    def text(self, name: str) -> str:
        """Return a header as text; empty if there is none."""
        return self.headers.get(name, b"").decode("utf-8", "backslashreplace")

    def number(self, name: str) -> int:
        """Return a header as a number; 0 if there is none."""
        text = self.text(name)
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0

    @property
    def is_without_message(self) -> bool:
        """True if the failed message was left out, because it was too large or could not be fetched."""
        return OMITTED in self.headers or NOT_FETCHED in self.headers


class MessageGone(LannerError):
    """The failed message of a dead letter is not available."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a message is replayed to."""

    topic: str
    """Full name."""
    partition: int
    """-1 to choose it by the key."""
    headers: Headers


class DeadLetterTopic:
    """The dead letters of one stage. Every call may raise BusUnavailable."""

    def __init__(self, connection: Connection, name: str) -> None:
        """Create a view of a topic; connects to nothing. name: name of the topic, without prefix."""
        self.name = connection.topic(name)
        self._connection = connection

    def open_messages(self) -> Iterator[DeadMessage]:
        """Yield the dead letters that are not settled, oldest first; only one is in memory at a time."""
        settled: set[int] = set()
        last = -1
        for message in self._all():
            last = message.offset() or 0
            if (offset := _settles(message)) is not None:
                settled.add(offset)
        for message in self._all():
            offset = message.offset() or 0
            if offset > last:
                # Written since the first pass: a replayed message may have failed again.
                return
            if _settles(message) is None and offset not in settled:
                yield _dead_message(message)

    def put_back(self, messages: Sequence[tuple[DeadMessage, Destination]]) -> None:
        """Send messages back to where they came from, and settle them once all replicas have them.

        After a crash in between they are still open; replayed again, they have the same ids.

        Raises:
            MessageRefused: the broker refused one of them.
        """
        self._send([Outgoing(to.topic, each.key, each.value, to.headers, to.partition) for each, to in messages])
        self.settle([each for each, _ in messages], "replayed", "")

    def settle(self, messages: Sequence[DeadMessage], how: How, note: str) -> None:
        """Mark dead letters as settled. Raises MessageRefused."""
        self._send(
            [
                Outgoing(
                    self.name,
                    # If the message was left out, the key may be what was too large.
                    None if each.is_without_message else each.key,
                    None,
                    [(SETTLES, str(each.offset).encode()), (HOW, how.encode()), (NOTE, note[:MAX_NOTE].encode())],
                    0,
                )
                for each in messages
            ]
        )

    def original(self, dead: DeadMessage) -> DeadMessage:
        """Return a dead letter whose message was left out, with the message read from its original topic.

        Args:
            dead: its headers name topic, partition and offset.

        Raises:
            BusUnavailable: the broker is unavailable.
            MessageGone: the message was deleted, or it can't be read.
        """
        source = f"{dead.text('topic')}[{dead.text('partition')}] at {dead.text('offset')}"
        if NOT_FETCHED in dead.headers:
            raise MessageGone(f"{source}: its message can't be read")
        partition, offset = dead.number("partition"), dead.number("offset")
        deadline = time.monotonic() + _FETCH_SECONDS
        positions = {partition: offset + 1}
        found = newest_before(self._connection, dead.text("topic"), positions, 1, lambda: time.monotonic() >= deadline)
        for message in found:
            value = message.value() or b""
            if message.offset() == offset and len(value) == dead.number(OMITTED):
                return replace(dead, key=message.key(), value=value, original=[*_headers(message)])
        raise MessageGone(f"{source}: its message is no longer there")

    def _send(self, messages: Sequence[Outgoing]) -> None:
        producer = resending_producer(self._connection, "lanner-dlq", queue_bytes=64 << 20)
        failures = [each for each in deliver(producer, messages, _FLUSH_SECONDS) if each is not None]
        # Report a refusal first: it is permanent, however often the message is sent.
        for failure in sorted(failures, key=lambda each: not isinstance(each, MessageRefused))[:1]:
            raise failure

    def _all(self) -> Iterator[Message]:
        """Yield every message that the topic contains now."""
        reader = TopicReader(self._connection, self.name, whole=True)
        silence = SilenceTimeout(self._connection)
        try:
            while not reader.has_read_all:
                message = reader.poll(_POLL_SECONDS)
                if message is None:
                    silence.nothing()
                    continue
                silence.heard()
                yield message
        finally:
            reader.close()


def _headers(message: Message) -> list[tuple[str, bytes]]:
    found: Any = message.headers() or []
    return [(name, value) for name, value in found if isinstance(value, bytes)]


def _settles(message: Message) -> int | None:
    """Return the offset that a message settles; None for a dead letter."""
    if message.value() is not None:
        return None
    text = dict(_headers(message)).get(SETTLES, b"")
    return int(text) if text.isdigit() and len(text) < 19 else None


def _dead_message(message: Message) -> DeadMessage:
    headers = _headers(message)
    facts = {name: value for name, value in headers if not name.startswith(ORIGINAL)}
    original: Headers = [(name.removeprefix(ORIGINAL), value) for name, value in headers if name.startswith(ORIGINAL)]
    _, milliseconds = message.timestamp()
    return DeadMessage(
        message.offset() or 0, milliseconds / 1000, message.key(), message.value() or b"", facts, original
    )
