"""Who is silent, on a Faust app: looks back when partitions come, and asks every second while they are here."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

import faust
from confluent_kafka import Message
from faust.types import TP

from bus.connection import Connection
from bus.consuming import committed, newest_before
from bus.errors import BusUnavailable
from bus.refusals import Refused
from bus.retrying import Retry, persist_async
from bus.spans import Past, stamp_of
from bus.topics import EVENTS, PROCESSOR_GROUP
from processor.detect_stage import DetectStage
from processor.identity.gate import EventsMessage, Gate, Rejected
from processor.shipping import Shipping, answers_of

_NEWEST = 300
_NEWEST_SECONDS = 5.0
_EARLIER_SECONDS = 3.0
_TICK_SECONDS = 1.0
_ASK_SECONDS = 5.0
_Recalled = tuple[Message, Callable[[str], bool]]
"""A message that was accepted before, and what says whether its batch is of the host whose id it holds."""


class HostWatch:
    """What the detect stage knows of hosts, learned from the topic and told in time."""

    def __init__(
        self,
        app: faust.App,
        connection: Connection,
        stage: DetectStage,
        *,
        gate: Gate | None = None,
        on_note: Callable[[str], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Begin; arguments as of the detect service; gate: checks what is looked back at."""
        self._app = app
        self._connection = connection
        self._stage = stage
        self._gate = gate
        self._on_note = on_note
        self._on_failure = on_failure
        self._events = connection.topic(EVENTS)
        self._positions: dict[int, int] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._shipping: Shipping | None = None

    def start(self, shipping: Shipping) -> None:
        """Begin to ask; on the running loop."""
        self._shipping = shipping
        self._ticking = asyncio.create_task(self._guarded(shipping))

    def finish(self) -> None:
        """Ask no more."""
        if self._ticking is not None:
            self._ticking.cancel()

    def taken(self, partition: int, offset: int) -> None:
        """Take note that a message has been judged."""
        self._positions[partition] = offset + 1

    def forget(self, partitions: Iterable[int]) -> None:
        """Forget what belongs to another process now."""
        gone = frozenset(partitions)
        for partition in gone:
            self._positions.pop(partition, None)
        self._stage.forget(gone)

    async def recall(self, partitions: frozenset[int]) -> None:
        """Look at what others judged, so that gaps and silences at the change of owners are found too."""
        try:
            positions, messages, known_since = await persist_async(
                lambda: asyncio.to_thread(self._look_back, partitions), Retry("The look back at hosts", self._on_note)
            )
        except BusUnavailable as error:
            self._on_note(f"gaps and silences right at this start can't be proved: {error}")
            return
        self._positions |= positions
        for message, is_of in messages:
            value = message.value() or b""
            if self._shipping is not None:
                value = await self._shipping.schemas.translated(value, self._on_note)
            self._stage.recall(message.partition() or 0, value, stamp_of(message), is_of)
        for partition, since in known_since.items():
            self._stage.silence.recalled(partition, since)
        if left := positions.keys() - known_since.keys():
            self._on_note(
                f"{len(left)} partitions hold too much to look back at: silences that began before this start are not "
                "told."
            )

    def _look_back(self, partitions: frozenset[int]) -> tuple[dict[int, int], list[_Recalled], dict[int, int]]:
        """Give where the group stands, what to learn in order, and since when each partition's hosts are known."""
        group = self._connection.topic(PROCESSOR_GROUP)
        positions = committed(self._connection, group, self._events, partitions)
        recent = list(newest_before(self._connection, self._events, positions, _NEWEST, _deadline(_NEWEST_SECONDS)))
        first: dict[int, int] = {}
        since: dict[int, int] = {}
        for message in recent:
            first.setdefault(message.partition() or 0, message.offset() or 0)
            since[message.partition() or 0] = stamp_of(message) - self._stage.silence.look_back_ms
        earlier, unread = self._earlier(first, since)
        known = {number: time for number, time in since.items() if number not in unread}
        # Of a partition where there is nothing any more, nothing is to be known.
        accepted = [each for each in map(self._accepted, earlier + recent) if each is not None]
        return positions, accepted, dict.fromkeys(positions.keys() - since.keys(), 0) | known

    def _accepted(self, message: Message) -> _Recalled | None:
        """Return a message with what says whether its batch is of the right host; None if it was not accepted."""
        gate = self._gate
        if gate is None:
            return message, lambda _: True
        accepted = gate.examine(_events_message(message))
        return None if isinstance(accepted, Rejected) else (message, lambda host_id: gate.is_of(accepted, host_id))

    def _earlier(self, first: dict[int, int], since: dict[int, int]) -> tuple[list[Message], set[int]]:
        """Give the last message of each host before the newest messages; and the partitions that hold too many."""
        past = Past(self._connection, self._events)
        try:
            bounds = {number: (past.since(time, [number])[number], first[number]) for number, time in since.items()}
            last: dict[tuple[int, bytes], Message] = {}
            for message in past.read(bounds, _deadline(_EARLIER_SECONDS)):
                # Of the many, only the last of each host has its signature checked: nobody else's may stand before it.
                if self._gate is not None and not self._gate.may_be_genuine(_events_message(message)):
                    continue
                last[message.partition() or 0, message.key() or b""] = message
            return [message for (number, _), message in last.items() if number not in past.unread], past.unread
        finally:
            past.close()

    async def _guarded(self, shipping: Shipping) -> None:
        try:
            await self._tick(shipping)
        except Exception as error:  # noqa: BLE001  the process ends by it
            self._on_failure(error)

    async def _tick(self, shipping: Shipping) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = self._stage.broker_time()
            if now is None or not (suspects := self._stage.silence.overdue(now) & self._positions.keys()):
                continue
            alerts = self._stage.silence.due(await self._read_to_end(suspects), now)
            for answer in await answers_of([await shipping.alert(alert) for alert in alerts]):
                if isinstance(answer, Refused):
                    self._on_note(f"an alert about a silent host was refused: {answer}.")

    async def _read_to_end(self, partitions: Iterable[int]) -> list[int]:
        """Tell which partitions hold nothing unread: only the broker knows, and where it is away nobody is silent."""
        consumer: Any = self._app.consumer
        asked = [TP(self._events, number) for number in partitions]
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                ends = await consumer.highwaters(*asked)
        except Exception:  # noqa: BLE001  away, or in the middle of a rebalance: it is asked again
            return []
        return [tp.partition for tp, end in ends.items() if self._positions.get(tp.partition, -1) >= end]


def _events_message(message: Message) -> EventsMessage:
    headers: Any = message.headers() or []
    return EventsMessage(
        message.partition() or 0, message.key(), headers, message.value() or b"", stamp_of(message) * 1_000_000
    )


def _deadline(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end
