"""Find silent hosts, on a Faust app: look back when partitions are assigned, then look every second."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import faust
from faust.types import TP

from bus.clients.availability import Retry
from bus.clients.errors import MessageRefused
from bus.clients.event_loop import persist_async
from bus.connection import BusUnavailable, Connection
from bus.messages import JSON_HEADERS, correction
from bus.topics import EVENTS, QUIET_HOSTS
from foundation.text import OnNote
from processor.fleet.kafka.fetched import UnreadableRecord
from processor.fleet.kafka.past_events import LastOfEach, PastEvents
from processor.fleet.message_stage import MessageStage
from processor.fleet.producer import ResultProducer, answers_of, headers_of
from processor.hosts.identity import EventsMessage, IdentityGate, RejectedMessage
from processor.hosts.liveness import BadQuietHosts, QuietHosts, decode_quiet_hosts, encode_quiet_hosts, quiet_hosts

_EVERY_SECONDS = 10.0
_QUIET_MS = 20_000
"""A host that sent something in this time is found in the messages; each sends at least every 15 s."""
_NEWEST = 3
"""Records that are read of a partition: the last one may be of a processor that hung, or not committed."""


class QuietRecords:
    """The records of this processor, and those of others."""

    def __init__(self, stage: MessageStage, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin. stage: knows the hosts; clock: monotonic, s."""
        self._stage = stage
        self._clock = clock
        self._due = 0.0
        self._waiting: dict[int, QuietHosts] = {}
        self._recorded: dict[int, int] = {}

    def capture(self, positions: Mapping[int, int]) -> None:
        """Note which hosts are quiet, if it is time; call it between two messages.

        Args:
            positions: by partition, the offset that is evaluated next.
        """
        now = self._clock()
        if now < self._due or (broker := self._stage.broker_time()) is None:
            return
        self._due = now + _EVERY_SECONDS
        changed = {each: at for each, at in positions.items() if self._recorded.get(each) != at}
        until = broker - _QUIET_MS
        for partition, (since, hosts) in self._stage.liveness.quiet(dict.fromkeys(changed, until)).items():
            # One that still waits is sent first: otherwise none would be if commits were always behind.
            self._waiting.setdefault(partition, quiet_hosts(changed[partition], since, until, hosts))

    def take(self, committed: Mapping[int, int]) -> list[tuple[int, bytes]]:
        """Return what to record now, with its partition: what was noted at offsets that are committed by now.

        A successor begins at the committed offset, and what was noted later would hide what happened in between.

        Args:
            committed: by partition.
        """
        ready = [each for each, quiet in self._waiting.items() if quiet.position <= committed.get(each, -1)]
        self._recorded |= {partition: self._waiting[partition].position for partition in ready}
        return [(partition, encode_quiet_hosts(self._waiting.pop(partition))) for partition in ready]

    def forget(self, partitions: Iterable[int]) -> None:
        """Record nothing more about partitions."""
        for partition in partitions:
            self._waiting.pop(partition, None)
            self._recorded.pop(partition, None)


async def read_quiet_hosts(
    past: PastEvents, topic: str, bounds: Mapping[int, tuple[int, int]]
) -> dict[int, QuietHosts]:
    """Return the newest usable record of each partition.

    Args:
        past: reads topics.
        topic: the full name of QUIET_HOSTS.
        bounds: by partition, the first offset of the events topic, and the one from which this processor goes
            on. What happened between a record's position and these would be unknown.
    """
    found: dict[int, QuietHosts] = {}
    for partition, records in (await past.newest(topic, bounds, _NEWEST)).items():
        begin, end = bounds[partition]
        for record in records:
            try:
                quiet = decode_quiet_hosts(record.value or b"")
            except BadQuietHosts:
                continue
            if begin <= quiet.position <= end:
                found[partition] = max(quiet, found.get(partition, quiet), key=lambda each: each.position)
    return found


_WATCH_NEWEST = 300
_LOOK_BACK_SECONDS = 5.0
"""For all partitions together: nothing new is evaluated in the meantime."""
_LEAST_SECONDS = 0.5
"""At one partition, whatever the others took."""
_MOST_HELD_BYTES = 8 << 20
_TICK_SECONDS = 1.0
_ASK_SECONDS = 5.0


class HostWatch:
    """The detect stage's facts about hosts, learned from the topic and reported in time."""

    def __init__(
        self,
        app: faust.App,
        connection: Connection,
        stage: MessageStage,
        *,
        gate: IdentityGate | None = None,
        on_note: OnNote,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Begin; arguments as for DetectService. gate: verifies the messages that are read again."""
        self._app = app
        self._connection = connection
        self._stage = stage
        self._gate = gate
        self._on_note = on_note
        self._on_failure = on_failure
        self._events = connection.topic(EVENTS)
        self._positions: dict[int, int] = {}
        self._quiet = QuietRecords(stage)
        self._ticking: asyncio.Task[None] | None = None
        self._shipping: ResultProducer | None = None

    def start(self, shipping: ResultProducer) -> None:
        """Start; on the running loop."""
        self._shipping = shipping
        self._ticking = asyncio.create_task(self._tick(shipping))

    def finish(self) -> None:
        """Stop."""
        if self._ticking is not None:
            self._ticking.cancel()

    def taken(self, partition: int, offset: int) -> None:
        """Record that a message was evaluated."""
        self._positions[partition] = offset + 1
        # Between two messages, what is known of the hosts agrees with the positions.
        self._quiet.capture(self._positions)

    def forget(self, partitions: Iterable[int]) -> None:
        """Forget the partitions that another process owns now."""
        gone = frozenset(partitions)
        for partition in gone:
            self._positions.pop(partition, None)
        self._quiet.forget(gone)
        self._stage.forget(gone)

    async def recall(self, positions: Mapping[int, int]) -> None:
        """Learn what other processors knew of hosts, to find gaps and silences across a change of owners.

        Args:
            positions: by partition, the offset from which this processor goes on.
        """
        self._positions |= positions
        try:
            unknown = await persist_async(
                lambda: self._look_back(positions), Retry("Reading the recent messages of hosts", self._on_note)
            )
        except BusUnavailable as error:
            self._on_note(f"gaps and silences at this start cannot be detected: {error}")
            return
        if unknown:
            self._on_note(
                f"{unknown} partitions hold too many messages to read again: "
                "silences that began before this start are not reported."
            )

    async def _look_back(self, positions: Mapping[int, int]) -> int:
        """Read what was recorded of quiet hosts and the newest messages of the others, partition by partition.

        Returns:
            The number of partitions with too many messages to read.
        """
        unknown = 0
        ends = time.monotonic() + _LOOK_BACK_SECONDS
        async with PastEvents(self._connection, self._events) as past:
            begins = await past.begins(positions)
            bounds = {number: (begins[number], end) for number, end in positions.items() if begins[number] < end}
            recorded = await read_quiet_hosts(past, self._connection.topic(QUIET_HOSTS), bounds)
            for left, (number, each) in zip(range(len(bounds), 0, -1), bounds.items(), strict=True):
                # Time that one partition does not use is left to the others.
                share = max(_LEAST_SECONDS, (ends - time.monotonic()) / left)
                since = await self._look_back_at(past, number, each, recorded.get(number), _deadline(share))
                if since is None:
                    unknown += 1
                    # Unread messages would otherwise look like a gap.
                    self._stage.forget(frozenset((number,)))
                else:
                    self._stage.liveness.recalled(number, since)
        return unknown

    async def _look_back_at(
        self, past: PastEvents, number: int, bounds: tuple[int, int], quiet: QuietHosts | None, stop: Callable[[], bool]
    ) -> int | None:
        """Learn what is known of the hosts of one partition, as far as it can be read before the time is up.

        bounds: its first offset, and the one from which this processor goes on.

        Returns:
            The time (ms) since which all its hosts are known; None if there were too many messages.
        """
        begin, end = bounds
        newest = max(begin, end - _WATCH_NEWEST)
        if quiet is None:
            first = await past.first(number, newest, end)
            if first is None:
                return None
            since = until = int(first.timestamp) - self._stage.liveness.look_back_ms
        else:
            since, until = quiet.since, quiet.until
            self._stage.recall_quiet(number, quiet.hosts)
        found = await past.since(number, until)
        start = min(newest, newest if found is None else found, newest if quiet is None else quiet.position)
        last = LastOfEach[Any](_MOST_HELD_BYTES)
        async for record in past.read(number, start, end, stop):
            if record.offset >= newest:
                ready = [*last.take_all(), record]
            # Only each host's last message has its signature verified, so forged ones must not replace it.
            elif self._gate is None or self._gate.may_be_genuine(events_message(record, record.timestamp)):
                ready = [*last.put(record.key or b"", record, len(record.value or b""))]
            else:
                continue
            for each in ready:
                await self._learn(each)
        for each in last.take_all():
            await self._learn(each)
        return since if past.reached[number] >= end else None

    async def _learn(self, record: Any) -> None:
        """Pass a message that was accepted before to the stage, if its batch comes from the host that it names."""
        recall = self._stage.recall
        if isinstance(record.value, UnreadableRecord):
            return
        if self._gate is not None:
            accepted = self._gate.examine(events_message(record, record.timestamp))
            if isinstance(accepted, RejectedMessage):
                return
            recall = partial(recall, is_of=partial(self._gate.is_of, accepted))
        value = record.value or b""
        if self._shipping is not None:
            value = await self._shipping.schemas.translated(value, self._on_note)
        offset = correction(headers_of(record), record.timestamp * 1_000_000)
        recall(record.partition, value, record.timestamp, offset=offset, position=record.offset)

    async def _tick(self, shipping: ResultProducer) -> None:
        try:
            while True:
                await asyncio.sleep(_TICK_SECONDS)
                await self._record_quiet(shipping)
                now = self._stage.broker_time()
                if now is None or not (suspects := self._stage.liveness.overdue(now) & self._positions.keys()):
                    continue
                alerts = self._stage.liveness.due(await self._read_to_end(suspects), now)
                for answer in await answers_of([await shipping.alert(alert) for alert in alerts]):
                    if isinstance(answer, MessageRefused):
                        self._on_note(f"an alert about a silent host was refused: {answer}.")
        except Exception as error:  # noqa: BLE001  it ends the process
            self._on_failure(error)

    async def _record_quiet(self, shipping: ResultProducer) -> None:
        consumer: Any = self._app.consumer
        committed = {tp.partition: at for tp, at in consumer.committed().items() if tp.topic == self._events}
        sending = [
            await shipping.send(QUIET_HOSTS, b"", value, JSON_HEADERS, partition=partition)
            for partition, value in self._quiet.take(committed)
        ]
        for answer in await answers_of(sending):
            if isinstance(answer, MessageRefused):
                self._on_note(f"a record of quiet hosts was refused: {answer}.")

    async def _read_to_end(self, partitions: Iterable[int]) -> list[int]:
        """Return the partitions that were read to their end; none while the broker does not answer."""
        consumer: Any = self._app.consumer
        requested = [TP(self._events, number) for number in partitions]
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                ends = await consumer.highwaters(*requested)
        except Exception:  # noqa: BLE001  the broker is unavailable or rebalances: it is asked again later
            return []
        return [tp.partition for tp, end in ends.items() if self._positions.get(tp.partition, -1) >= end]


def events_message(message: Any, appended: int) -> EventsMessage:
    """Return a message of the events topic for the check of its host. appended: broker's clock, ms."""
    value = message.value or b""
    return EventsMessage(message.partition, message.key, headers_of(message), value, appended * 1_000_000)


def _deadline(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end
