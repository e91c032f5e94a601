"""Stores audit events in their topic: they count as stored once all replicas have them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager

from bus.clients.errors import MessageRefused
from bus.clients.event_loop import AsyncProducer
from bus.connection import Connection
from bus.messages import Headers, dead_letter
from bus.topics import KUBERNETES_AUDIT, PROCESSOR_DEAD_LETTERS
from foundation.errors import LannerError
from foundation.text import OnNote
from lanner.intake.documents import RawEvent

CLOSE_SECONDS = 5.0
_QUEUE_BYTES = 32 << 20
_HEADERS: Headers = [("content-type", b"application/x-ndjson")]
_PACK_BYTES = 128 << 10
"""Limit of a message with several events: a message costs a processor more than evaluating an event does."""
ACCEPTED, REFUSED = "accepted", "refused"


class NotStored(LannerError):
    """The broker has not acknowledged all events in time; they must be sent again."""


class AuditDelivery:
    """Stores events; use it on one loop."""

    def __init__(self, connection: Connection, producer: AsyncProducer, outcomes: Counter[str]) -> None:
        """Take a producer of this loop. outcomes: counts events that were accepted and refused."""
        self._topic = connection.topic(KUBERNETES_AUDIT)
        self._dead_letters = connection.topic(PROCESSOR_DEAD_LETTERS)
        self._producer = producer
        self._outcomes = outcomes
        self._late: set[asyncio.Future[int]] = set()

    @property
    def is_blocked(self) -> bool:
        """True if events that were not acknowledged in time still wait for the broker."""
        return bool(self._late)

    async def store(self, events: Sequence[RawEvent], seconds: float | None = None) -> None:
        """Wait until the broker has all events. An event that it refuses becomes a dead letter.

        Args:
            events: the events.
            seconds: how long to wait; None for as long as it takes.

        Raises:
            NotStored: time is up. Events that are sent again have the same ids, so nothing is reported twice.
            BusUnavailable: the broker can't be used, and waiting does not help.
        """
        sent: list[asyncio.Future[int]] = []
        try:
            async with asyncio.timeout(seconds):
                refused = await self._send(packed(events), sent)
                # One of several events may be at fault.
                apart = [(event,) for group, _ in refused if len(group) > 1 for event in group]
                alone = [each for each in refused if len(each[0]) == 1] + await self._send(apart, sent)
                for (event,), error in alone:
                    await self._bury(event, str(error))
        except TimeoutError:
            self._wait_late(sent)
            raise NotStored("no answer from the broker in time") from None
        self._outcomes[REFUSED] += len(alone)
        self._outcomes[ACCEPTED] += len(events) - len(alone)

    async def _send(
        self, groups: Iterable[tuple[RawEvent, ...]], sent: list["asyncio.Future[int]"]
    ) -> list[tuple[tuple[RawEvent, ...], MessageRefused]]:
        """Send messages, which are added to sent, and wait for all; return those that the broker refuses."""
        waiting = []
        for group in groups:
            value = b"\n".join(event.value for event in group)
            done = await self._producer.send(self._topic, group[0].key, value, _HEADERS)
            waiting.append((group, done))
            sent.append(done)
        if waiting:
            await asyncio.wait([done for _, done in waiting])
        answers = [(group, done.exception()) for group, done in waiting]
        for _, error in answers:
            if error is not None and not isinstance(error, MessageRefused):
                raise error
        return [(group, error) for group, error in answers if isinstance(error, MessageRefused)]

    async def _bury(self, event: RawEvent, reason: str) -> None:
        """Write a dead letter without the event, which is likely to be too large for any message."""
        name = (event.key or b"").decode("utf-8", "replace")
        source = (self._topic, -1, -1)
        letter = dead_letter(f"audit event {name} refused: {reason}", source, None, event.value).without_message()
        await (await self._producer.send(self._dead_letters, letter.key, letter.value, letter.headers))

    def _wait_late(self, sent: Sequence["asyncio.Future[int]"]) -> None:
        for each in sent:
            self._late.add(each)
            each.add_done_callback(self._arrived)

    def _arrived(self, done: "asyncio.Future[int]") -> None:
        self._late.discard(done)
        if not done.cancelled():
            # Read, so that asyncio does not report an error that nobody waits for.
            done.exception()


def packed(events: Iterable[RawEvent]) -> Iterator[tuple[RawEvent, ...]]:
    """Yield the events of each message.

    An event that may turn out unreadable is alone: what is with it would be in its dead letter.
    """
    group: list[RawEvent] = []
    size = 0
    for event in events:
        length = len(event.value)
        if event.key is None or length > _PACK_BYTES:
            yield (event,)
            continue
        if size + length > _PACK_BYTES:
            yield tuple(group)
            group, size = [], 0
        # Between the tokens of JSON, a line break is a space; within a string, it is not valid.
        group.append(RawEvent(event.key, event.value.replace(b"\n", b" ")))
        size += length
    if group:
        yield tuple(group)


@asynccontextmanager
async def open_delivery(
    connection: Connection, outcomes: Counter[str], on_note: OnNote
) -> AsyncIterator[AuditDelivery]:
    """Open a producer on the running loop. Raises BusUnavailable if the client can't use the settings."""
    producer = AsyncProducer(connection, "lanner-audit-intake", queue_bytes=_QUEUE_BYTES, on_note=on_note)
    try:
        yield AuditDelivery(connection, producer, outcomes)
    finally:
        await asyncio.to_thread(producer.close, CLOSE_SECONDS)
