"""The topics of dead letters: what lies there, putting it back, and remembering what was settled.

A letter is settled by a message behind it in the same topic (no value, header `settles` with the letter's offset). So
every reader sees the same state, who settled what stays on record, and a mark never expires before its letter does.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from confluent_kafka import Message

from bus.clients.producers import resending_producer
from bus.clients.readers import SilenceTimeout, TopicReader, newest_before
from bus.clients.resending import Outgoing, deliver
from bus.connection import Connection
from bus.errors.refusals import MessageRefused
from bus.messages.dead_letter import NOT_FETCHED, OMITTED, ORIGINAL
from bus.messages.headers import Headers
from schemas.errors import LannerError

SETTLES, HOW, NOTE = "settles", "how", "note"
How = Literal["replayed", "dropped"]
MAX_NOTE = 500
_POLL_SECONDS = 0.2
_FLUSH_SECONDS = 30.0
_FETCH_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """A message that failed, as it lies in its topic."""

    offset: int
    at: float
    """Wall clock, seconds, at which it was put there."""
    key: bytes | None
    value: bytes
    headers: Mapping[str, bytes]
    """What was told of it: reason, topic, partition, offset, and what the stage added."""
    original: Headers
    """The headers that it had before it failed."""

    def text(self, name: str) -> str:
        """Give a header as text; empty where there is none."""
        return self.headers.get(name, b"").decode("utf-8", "backslashreplace")

    def number(self, name: str) -> int:
        """Give a header as a number; 0 where there is none."""
        text = self.text(name)
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0

    @property
    def is_without_message(self) -> bool:
        """Whether the letter would have been too large with the message that failed."""
        return OMITTED in self.headers or NOT_FETCHED in self.headers


class MessageGone(LannerError):
    """The message that a letter is about can't be had."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a message goes back to."""

    topic: str
    """Full name."""
    partition: int
    """-1 to choose by its key."""
    headers: Headers


class DeadLetterTopic:
    """One stage's dead letters; every call may raise BusUnavailable."""

    def __init__(self, connection: Connection, name: str) -> None:
        """Take a topic.

        Args:
            connection: the broker.
            name: of the topic, without prefix.
        """
        self.name = connection.topic(name)
        self._connection = connection

    def open_letters(self) -> Iterator[DeadMessage]:
        """Give what is not settled now, oldest first; values are not held longer than the caller does."""
        settled: set[int] = set()
        last = -1
        for message in self._all():
            last = message.offset() or 0
            if (offset := _settles(message)) is not None:
                settled.add(offset)
        for message in self._all():
            offset = message.offset() or 0
            if offset > last:
                # What is put back may fail again while this goes on.
                return
            if _settles(message) is None and offset not in settled:
                yield _letter(message)

    def put_back(self, letters: Sequence[tuple[DeadMessage, Destination]]) -> None:
        """Produce messages where they came from, and settle them once all replicas have them.

        A crash in between leaves them open: put back again, they have the same ids.

        Raises:
            Refused: the broker won't take one of them.
        """
        self._send([Outgoing(to.topic, each.key, each.value, to.headers, to.partition) for each, to in letters])
        self.settle([each for each, _ in letters], "replayed", "")

    def settle(self, letters: Sequence[DeadMessage], how: How, note: str) -> None:
        """Mark letters as dealt with. Raises Refused."""
        self._send(
            [
                Outgoing(
                    self.name,
                    # Of a letter that went without its message, the key may be what was too large.
                    None if each.is_without_message else each.key,
                    None,
                    [(SETTLES, str(each.offset).encode()), (HOW, how.encode()), (NOTE, note[:MAX_NOTE].encode())],
                    0,
                )
                for each in letters
            ]
        )

    def original(self, letter: DeadMessage) -> DeadMessage:
        """Return a letter that went without its message, with the message as it lies where it failed.

        Args:
            letter: its headers say where that is.

        Raises:
            BusUnavailable: no broker.
            MessageGone: it is not there any more, or it can't be read there either.
        """
        place = f"{letter.text('topic')}[{letter.text('partition')}] at {letter.text('offset')}"
        if NOT_FETCHED in letter.headers:
            raise MessageGone(f"{place}: its message can't be read")
        partition, offset = letter.number("partition"), letter.number("offset")
        deadline = time.monotonic() + _FETCH_SECONDS
        positions = {partition: offset + 1}
        found = newest_before(
            self._connection, letter.text("topic"), positions, 1, lambda: time.monotonic() >= deadline
        )
        for message in found:
            value = message.value() or b""
            if message.offset() == offset and len(value) == letter.number(OMITTED):
                return replace(letter, key=message.key(), value=value, original=[*_headers(message)])
        raise MessageGone(f"{place}: its message is not there any more")

    def _send(self, messages: Sequence[Outgoing]) -> None:
        producer = resending_producer(self._connection, "lanner-dlq", queue_bytes=64 << 20)
        failures = [each for each in deliver(producer, messages, _FLUSH_SECONDS) if each is not None]
        # What is refused is refused however often it is tried: that is the answer.
        for failure in sorted(failures, key=lambda each: not isinstance(each, MessageRefused))[:1]:
            raise failure

    def _all(self) -> Iterator[Message]:
        """Give every message that there is at this moment."""
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
    """Give the offset that a message settles; None for a letter."""
    if message.value() is not None:
        return None
    text = dict(_headers(message)).get(SETTLES, b"")
    return int(text) if text.isdigit() and len(text) < 19 else None


def _letter(message: Message) -> DeadMessage:
    headers = _headers(message)
    told = {name: value for name, value in headers if not name.startswith(ORIGINAL)}
    original: Headers = [(name.removeprefix(ORIGINAL), value) for name, value in headers if name.startswith(ORIGINAL)]
    _, milliseconds = message.timestamp()
    return DeadMessage(
        message.offset() or 0, milliseconds / 1000, message.key(), message.value() or b"", told, original
    )
