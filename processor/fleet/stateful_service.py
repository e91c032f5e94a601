"""A stage with state on a Faust app: for each batch, it sends results, then state, then acknowledges.

An event that matches a rule of one group is relayed to another group by a message of the same topic. If a process dies
after it was sent, the next owner of the partition sends it again, and the window that has it counts it once.

State is stored in a compacted topic, one record per key, in the same partition as the messages that made it. A Faust
table is not used: it does not wait for its changelog, and it writes to the partition of whatever message its stream is
at. State depends only on the order of messages in a partition of the topic, so each record has the offset up to
which they were applied. If a process hangs while another takes over, its late records have smaller offsets and are
ignored.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import faust
from faust.types import TP

from bus.clients.availability import Retry
from bus.clients.compacted import BEGUN, ChangelogTable, TableEnds, applied_header, read_tables
from bus.clients.errors import MessageRefused, is_broker_error
from bus.clients.event_loop import persist_async
from bus.clients.readers import committed
from bus.connection import BusUnavailable, Connection, fault_text
from bus.messages import append_time
from bus.topics import PROCESSOR_GROUP, changelog
from foundation.text import OnNote
from processor.correlation.stage import StageResult
from processor.correlation.state import StateChange
from processor.fleet.kafka import transport
from processor.fleet.kafka.transport import AppendTimes
from processor.fleet.producer import ResultProducer, answers_of, why_not_fetched
from processor.output.internal_alerts import memory_lost


class PartitionQueues:
    """One bounded queue for each owned partition, filled by one reader of all of them."""

    def __init__(self, most: int) -> None:
        """Own none. most: messages that may wait in each."""
        self._most = most
        self.of: Mapping[int, asyncio.Queue[Any]] = {}
        """By owned partition."""

    def open(self, partitions: Iterable[int]) -> None:
        """Own these partitions instead of the former ones."""
        self.close()
        self.of = {partition: asyncio.Queue(self._most) for partition in partitions}

    def end(self) -> None:
        """Put None behind what waits, as far as there is room."""
        for queue in self.of.values():
            if not queue.full():
                queue.put_nowait(None)

    def close(self) -> None:
        """Own none. A task that waits for room in a queue that nobody reads would wait forever: it is emptied."""
        for queue in self.of.values():
            while not queue.empty():
                queue.get_nowait()
        self.of = {}


_BATCH = 500
_QUEUE = 2000
_TICK_SECONDS = 1.0

FaultPoint = Callable[[str], None]
"""Called with the name of each point between two steps; tests kill the process there."""


@dataclass(frozen=True, slots=True)
class StatefulTopic:
    """What a stage with state reads, and where its state is stored."""

    name: str
    """Without prefix."""
    table: str
    """The name of its table; the changelog's name is made of it."""
    about: str
    """What its state consists of, for people."""


class PartitionStage(Protocol):
    """A stage without Kafka; see `CorrelateStage` for what each method does."""

    lost: int
    """Partitions whose state was lost when they were taken over."""

    def begin(self, partition: int, blobs: Iterable[bytes], applied: int) -> int:
        """Take over a partition with its stored state; return the number of values that can't be read."""

    def take(self, partition: int, key: bytes | None, value: bytes | None, appended: int, offset: int) -> StageResult:
        """Apply one message, in the order of its partition."""

    def take_repaired(self) -> int:
        """Return the number of states repaired since the last call."""

    def take_changes(self, partition: int) -> list[StateChange]:
        """Return the changes to write to a partition's table since the last call."""

    def everything(self, partition: int) -> Mapping[bytes, bytes]:
        """Return the whole content of a partition's table."""

    def forget(self, partition: int, key: Any) -> None:
        """Drop an entry that the table refused."""

    def remembers(self, partition: int) -> bool:
        """Return True if a tick could change anything."""

    def drop_all(self) -> None:
        """Drop everything: partitions are being reassigned."""


class StatefulService:
    """Processes each partition in its own task, so that a slow one does not delay the others."""

    def __init__(
        self,
        app: faust.App,
        connection: Connection,
        topic: StatefulTopic,
        stage: PartitionStage,
        *,
        on_note: OnNote,
        on_failure: Callable[[BaseException], None],
        at: FaultPoint = lambda _: None,
    ) -> None:
        """Attach to an app that has not started.

        Args:
            app: as made by make_app.
            connection: the same broker.
            topic: what is read.
            stage: evaluates messages.
            on_note: receives messages for an operator.
            on_failure: called once if this process cannot continue.
            at: fault points.
        """
        self._app = app
        self._connection = connection
        self._stage = stage
        self._on_note = on_note
        self._on_failure = on_failure
        self._at = at
        self._append_times = AppendTimes(on_note)
        self._shipping: ResultProducer
        self._queues = PartitionQueues(_QUEUE)
        self._applied: dict[int, int] = {}
        """By partition, the highest applied offset in the records written; it only grows."""
        self._ends = TableEnds({})
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False
        self._topic = topic
        self._name = connection.topic(topic.name)
        self._changelog = changelog(topic.table)
        transport.attach(
            app, topic.name, (self._name,), self._agent, on_revoked=self._on_revoked, on_assigned=self._on_assigned
        )

    def start(self, shipping: ResultProducer) -> None:
        """Set the producer, before the app starts."""
        self._shipping = shipping

    async def finish(self) -> None:
        """Finish the batches in progress and start no more; the caller limits the time."""
        self._is_closing = True
        self._queues.end()
        if self._tasks:
            try:
                await asyncio.wait(self._tasks)
            finally:
                # A recovery would try until the broker is back, and its thread would delay the end of the process.
                for task in self._tasks:
                    task.cancel()

    async def _agent(self, stream: Any) -> None:
        async for event in transport.unacknowledged(stream):
            message = event.message
            # A message from before a rebalance is delivered again to the new owner of its partition.
            is_current = message.generation_id == self._app.consumer_generation_id
            if is_current and (queue := self._queues.of.get(message.partition)) is not None:
                await queue.put(message)

    async def _on_revoked(self, app: Any, revoked: Iterable[TP], **_: Any) -> None:  # noqa: ARG002  Faust's signal
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        self._queues.close()
        self._stage.drop_all()

    async def _on_assigned(self, app: Any, assigned: Iterable[TP], **_: Any) -> None:  # noqa: ARG002  Faust's signal
        partitions = sorted(each.partition for each in assigned if each.topic == self._name)
        if not partitions or self._is_closing:
            return
        ready = asyncio.Event()
        self._queues.open(partitions)
        self._begin(self._recover(partitions, ready))
        for partition, queue in self._queues.of.items():
            self._begin(self._work(partition, queue, ready))
        self._begin(self._tick(partitions, ready))

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001  it ends the process, and nothing is acknowledged
            self._on_failure(error)

    async def _recover(self, partitions: Sequence[int], ready: asyncio.Event) -> None:
        consumer: Any = self._app.consumer
        await consumer.begin(TP(self._name, partition) for partition in partitions)
        stopped = False
        try:
            tables, positions = await persist_async(
                lambda: asyncio.to_thread(self._read, partitions, lambda: stopped),
                Retry(f"The stage {self._topic.name} in the newly assigned partitions", self._on_note),
            )
        finally:
            stopped = True
        unreadable = 0
        for partition in partitions:
            unreadable += self._stage.begin(partition, tables[partition].values.values(), tables[partition].applied)
            # A partition can have a hundred thousand groups: detection continues between two of them.
            await asyncio.sleep(0)
        if unreadable:
            self._on_note(f"{unreadable} {self._topic.about} of another release could not be read and start empty.")
        self._applied = {partition: table.applied for partition, table in tables.items()}
        await self._repair(tables)
        lost = {partition: positions[partition] for partition in positions if tables[partition].is_unused}
        if lost:
            await self._report_lost(lost)
        # From now on an empty partition means that the topic was replaced.
        unused = [partition for partition, table in tables.items() if table.is_unused]
        begun = [await self._begun(each) for each in unused]
        ends = {partition: table.end for partition, table in tables.items()}
        self._ends = TableEnds(ends | {each: offset + 1 for each, offset in zip(unused, begun, strict=True)})
        ready.set()

    async def _begun(self, partition: int) -> int:
        """Mark a partition of the table as used and return the offset of the mark."""
        try:
            return await (await self._shipping.send(self._changelog, BEGUN, None, [], partition=partition))
        except MessageRefused as error:
            name = self._connection.topic(self._changelog)
            raise BusUnavailable(f"topic {name} does not accept a record ({error})", "check its settings") from None

    def _read(
        self, partitions: Sequence[int], stop: Callable[[], bool]
    ) -> tuple[dict[int, ChangelogTable], dict[int, int]]:
        """Return the tables, and the committed offsets of unused partitions that have any."""
        tables = read_tables(self._connection, self._connection.topic(self._changelog), partitions, stop)
        unused = [partition for partition, table in tables.items() if table.is_unused]
        group = self._connection.topic(PROCESSOR_GROUP)
        positions = committed(self._connection, group, self._name, unused) if unused else {}
        return tables, {partition: offset for partition, offset in positions.items() if offset > 0}

    async def _repair(self, tables: Mapping[int, ChangelogTable]) -> None:
        await answers_of(
            [
                await self._shipping.send(
                    self._changelog, key, value, applied_header(table.applied), partition=partition
                )
                for partition, table in tables.items()
                for key, value in table.overtaken.items()
            ]
        )

    async def _report_lost(self, positions: Mapping[int, int]) -> None:
        self._stage.lost += len(positions)
        alert = memory_lost(self._connection.topic(self._changelog), positions, time.time_ns(), self._topic.about)
        self._on_note(f"{alert.output}.")
        await answers_of([await self._shipping.alert(alert)])

    async def _work(self, partition: int, queue: "asyncio.Queue[Any]", ready: asyncio.Event) -> None:
        await ready.wait()
        consumer: Any = self._app.consumer
        while not self._is_closing:
            messages = [await queue.get()]
            while len(messages) < _BATCH and not queue.empty():
                messages.append(queue.get_nowait())
            if None in messages:
                return
            if admitted := [each for each in messages if await consumer.admits(each)]:
                await self._batch(partition, admitted)

    async def _batch(self, partition: int, messages: Sequence[Any]) -> None:
        """Evaluate, send alerts, write state, acknowledge. A crash between two steps only repeats work."""
        shipping = self._shipping
        reasons: dict[int, str] = {}
        try:
            await self._apply(partition, messages, reasons)
        except Exception as error:
            if is_broker_error(error):
                raise
            # It is unknown which message caused it.
            reasons = {each.offset: f"evaluation failed: {fault_text(error)}" for each in messages} | reasons
        await answers_of(
            [shipping.send_dead_letter(each, reasons[each.offset]) for each in messages if each.offset in reasons]
        )
        self._at("state written")
        consumer: Any = self._app.consumer
        for message in messages:
            consumer.settle(message)
        self._at("acknowledged")

    async def _apply(self, partition: int, messages: Sequence[Any], reasons: dict[int, str]) -> None:
        """Apply messages and wait until alerts, relayed events and state are acknowledged by the broker.

        Args:
            partition: of all messages.
            messages: in order.
            reasons: receives, by offset, why a message becomes a dead letter.
        """
        shipping = self._shipping
        sending: list[tuple[int, str, asyncio.Future[int]]] = []
        for message in in_turns(messages):
            step = await self._step(partition, message)
            if step.refused:
                reasons[message.offset] = step.refused
            offset = message.offset
            sending += [(offset, "an alert", await shipping.alert(alert)) for alert in step.alerts]
            sending += [(offset, "a match", await shipping.pre_match(*each)) for each in step.relayed]
            sending += [(offset, "an intent", await shipping.send(*each)) for each in step.sent]
        if repaired := self._stage.take_repaired():
            self._on_note(
                f"{repaired} {self._topic.about} of partition {partition} had times in the future, from a "
                "wrong clock, and were set to the present."
            )
        changes = self._stage.take_changes(partition)
        self._at("computed")
        answers = await answers_of([sent for *_, sent in sending])
        for (offset, what, _), answer in zip(sending, answers, strict=True):
            if isinstance(answer, MessageRefused):
                reasons.setdefault(offset, f"{what} that it caused was refused: {answer}")
        self._at("alerts sent")
        self._applied[partition] = max(self._applied[partition], messages[-1].offset)
        await self._mend(partition, await self._write(partition, changes, reasons))

    async def _step(self, partition: int, message: Any) -> StageResult:
        if reason := why_not_fetched(message):
            return StageResult(refused=reason)
        try:
            value = await self._shipping.read(message)
        except Exception as error:
            if is_broker_error(error):
                raise
            return StageResult(refused=f"not readable: {fault_text(error)}")
        appended = append_time(self._append_times.of(message))
        return self._stage.take(partition, message.key, value, appended, message.offset)

    async def _write(self, partition: int, changes: Sequence[StateChange], reasons: dict[int, str]) -> list[int]:
        """Write state and return the offsets of its records. Refused state is dropped here and in the table."""
        answers = await self._records(partition, [(each.record, each.blob) for each in changes])
        refused = []
        for change, answer in zip(changes, answers, strict=True):
            if isinstance(answer, MessageRefused):
                reasons.setdefault(change.cause, f"the state that it changed was refused: {answer}")
                self._stage.forget(partition, change.key)
                refused.append((change.record, None))
            elif change.fault:
                reasons.setdefault(change.cause, f"the state that it changed cannot be encoded: {change.fault}")
        answers += await self._records(partition, refused)
        return _offsets(answers)

    async def _records(
        self, partition: int, records: Iterable[tuple[bytes, bytes | None]]
    ) -> list[int | MessageRefused]:
        header = applied_header(self._applied[partition])
        sending = [
            await self._shipping.send(self._changelog, key, value, header, partition=partition)
            for key, value in records
        ]
        return await answers_of(sending)

    async def _mend(self, partition: int, offsets: Iterable[int]) -> None:
        """Write the whole state again if the topic was replaced."""
        while self._ends.lacks(partition, offsets):
            everything = self._stage.everything(partition)
            offsets = [await self._begun(partition)]
            offsets += _offsets(await self._records(partition, everything.items()))
            self._on_note(
                f"topic {self._connection.topic(self._changelog)} was deleted and created again while this "
                f"processor runs: {len(everything)} {self._topic.about} of partition {partition} were rewritten.",
                "warning",
            )

    async def _tick(self, partitions: Sequence[int], ready: asyncio.Event) -> None:
        await ready.wait()
        while not self._is_closing:
            await asyncio.sleep(_TICK_SECONDS)
            for partition in partitions:
                # A waiting message carries the time as well as a tick does.
                if self._stage.remembers(partition) and self._queues.of[partition].empty():
                    await self._shipping.tick(partition, time.time_ns())


def _offsets(answers: Iterable[int | MessageRefused]) -> list[int]:
    return [answer for answer in answers if isinstance(answer, int)]


def in_turns(messages: Sequence[Any]) -> list[Any]:
    """Return messages so that each group's first comes before any group's second: a busy group delays no other.

    Args:
        messages: in the order of their partition. Only those of one second of the broker's clock change places, because
            windows end by it.
    """
    seen: Counter[tuple[int, bytes | None]] = Counter()
    turns: list[tuple[tuple[int, int], Any]] = []
    second = 0
    for message in messages:
        second = max(second, int(message.timestamp))
        turns.append(((second, seen[second, message.key]), message))
        seen[second, message.key] += 1
    return [message for _, message in sorted(turns, key=lambda turn: turn[0])]
