"""The correlate stage on a Faust app: for each batch taken, alerts first, then state, then the acknowledgement.

The state lies in a compacted topic, one blob a key, in the partition of the messages that made it. It is written and
read by the stage itself and not by a Faust table: a table sends its changelog without waiting for it, and writes to
the partition of whatever message its stream is at. State is a function of the order in the partition of `correlate`, so
each record says how far that had been applied: what a process writes that hung while another took over is older than
what the other wrote, and is not read.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import faust
from faust.types import TP

from bus.clients.readers import committed
from bus.clients.retry import Retry, persist_async
from bus.connection import Connection
from bus.errors.refusals import MessageRefused, is_broker_error
from bus.errors.unavailable import BusUnavailable, fault_text
from bus.messages.clock_offset import append_time
from bus.state.changelog import BEGUN, ChangelogTable, applied_header, read_tables
from bus.state.changelog_reset import TableEnds
from bus.topics import CORRELATE, CORRELATION_TABLE, PROCESSOR_GROUP, changelog
from processor.correlation.correlator import StateChange
from processor.correlation.stage import CorrelateStage, StageResult
from processor.detection.internal_alerts import memory_lost
from processor.fleet.kafka import transport
from processor.fleet.kafka.append_times import AppendTimes
from processor.fleet.producer import ResultProducer, answers_of, why_not_fetched

_BATCH = 500
_QUEUE = 2000
_TICK_SECONDS = 1.0
_CHANGELOG = changelog(CORRELATION_TABLE)

FaultPoint = Callable[[str], None]
"""Called with the name of each gap at which a process may die; tests die there."""


class CorrelateService:
    """Takes messages partition by partition, so that a slow one holds up no other."""

    def __init__(
        self,
        app: faust.App,
        connection: Connection,
        stage: CorrelateStage,
        *,
        on_note: Callable[[str], None],
        on_failure: Callable[[BaseException], None],
        at: FaultPoint = lambda _: None,
    ) -> None:
        """Attach to an app that has not started.

        Args:
            app: as made by make_app.
            connection: the same broker.
            stage: judges.
            on_note: told of what an operator should know.
            on_failure: told once that this process can't go on.
            at: fault points.
        """
        self._app = app
        self._connection = connection
        self._stage = stage
        self._on_note = on_note
        self._on_failure = on_failure
        self._at = at
        self._append_times = AppendTimes(on_note)
        self._shipping: ResultProducer | None = None
        self._queues: dict[int, asyncio.Queue[Any]] = {}
        self._applied: dict[int, int] = {}
        """By partition, what records that were written say at most: it never goes back."""
        self._ends = TableEnds({})
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False
        self._name = connection.topic(CORRELATE)
        topic = app.topic(self._name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        app.agent(topic, name="correlate")(self._agent)
        revoked: Any = app.on_partitions_revoked
        revoked.connect(self._on_revoked)
        assigned: Any = app.on_partitions_assigned
        assigned.connect(self._on_assigned)

    def start(self, shipping: ResultProducer) -> None:
        """Take the sending side; before the app starts."""
        self._shipping = shipping

    async def finish(self) -> None:
        """Finish the batches that are being worked on, and begin no more."""
        self._is_closing = True
        for queue in self._queues.values():
            with suppress(asyncio.QueueFull):
                queue.put_nowait(None)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    async def _agent(self, stream: Any) -> None:
        async for event in transport.unacknowledged(stream):
            message = event.message
            queue = self._queues.get(message.partition)
            # A message from before a rebalance comes again to whoever owns its partition now.
            if queue is not None and message.generation_id == self._app.consumer_generation_id:
                await queue.put(message)

    async def _on_revoked(self, app: Any, revoked: Iterable[TP], **_: Any) -> None:  # noqa: ARG002  Faust's signal
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        self._queues.clear()
        self._stage.drop_all()

    async def _on_assigned(self, app: Any, assigned: Iterable[TP], **_: Any) -> None:  # noqa: ARG002  Faust's signal
        partitions = sorted(each.partition for each in assigned if each.topic == self._name)
        if not partitions or self._is_closing:
            return
        ready = asyncio.Event()
        self._queues = {partition: asyncio.Queue(_QUEUE) for partition in partitions}
        self._begin(self._recover(partitions, ready))
        for partition, queue in self._queues.items():
            self._begin(self._work(partition, queue, ready))
        self._begin(self._tick(partitions, ready))

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001  the process ends by it, and nothing is acknowledged
            self._on_failure(error)

    async def _recover(self, partitions: Sequence[int], ready: asyncio.Event) -> None:
        stopped = False
        try:
            tables, positions = await persist_async(
                lambda: asyncio.to_thread(self._read, partitions, lambda: stopped),
                Retry("Correlation in the partitions that came", self._on_note),
            )
        finally:
            stopped = True
        unreadable = sum(
            self._stage.begin(partition, tables[partition].values.values(), tables[partition].applied)
            for partition in partitions
        )
        if unreadable:
            self._on_note(f"{unreadable} windows of another release could not be read and begin anew.")
        self._applied = {partition: table.applied for partition, table in tables.items()}
        await self._repair(tables)
        lost = {partition: positions[partition] for partition in positions if tables[partition].is_unused}
        if lost:
            await self._tell_lost(lost)
        # From now on an empty partition means that its topic is another one.
        unused = [partition for partition, table in tables.items() if table.is_unused]
        begun = [await self._begun(each) for each in unused]
        ends = {partition: table.end for partition, table in tables.items()}
        self._ends = TableEnds(ends | {each: offset + 1 for each, offset in zip(unused, begun, strict=True)})
        ready.set()

    async def _begun(self, partition: int) -> int:
        """Mark a partition of the table as used, and give the mark's offset."""
        try:
            return await (await self._sender().send(_CHANGELOG, BEGUN, None, [], partition=partition))
        except MessageRefused as error:
            name = self._connection.topic(_CHANGELOG)
            raise BusUnavailable(f"topic {name} does not accept a record ({error})", "check its settings") from None

    def _read(
        self, partitions: Sequence[int], stop: Callable[[], bool]
    ) -> tuple[dict[int, ChangelogTable], dict[int, int]]:
        """Give the tables, and where the group stands in those partitions in which it has been."""
        tables = read_tables(self._connection, self._connection.topic(_CHANGELOG), partitions, stop)
        unused = [partition for partition, table in tables.items() if table.is_unused]
        group = self._connection.topic(PROCESSOR_GROUP)
        positions = committed(self._connection, group, self._name, unused) if unused else {}
        return tables, {partition: offset for partition, offset in positions.items() if offset > 0}

    async def _repair(self, tables: Mapping[int, ChangelogTable]) -> None:
        await answers_of(
            [
                await self._sender().send(_CHANGELOG, key, value, applied_header(table.applied), partition=partition)
                for partition, table in tables.items()
                for key, value in table.overtaken.items()
            ]
        )

    async def _tell_lost(self, positions: Mapping[int, int]) -> None:
        self._stage.lost += len(positions)
        alert = memory_lost(self._connection.topic(_CHANGELOG), positions, time.time_ns())
        self._on_note(f"{alert.output}.")
        await answers_of([await self._sender().alert(alert)])

    async def _work(self, partition: int, queue: "asyncio.Queue[Any]", ready: asyncio.Event) -> None:
        await ready.wait()
        while not self._is_closing:
            messages = [await queue.get()]
            while len(messages) < _BATCH and not queue.empty():
                messages.append(queue.get_nowait())
            if None in messages:
                return
            await self._batch(partition, messages)

    async def _batch(self, partition: int, messages: Sequence[Any]) -> None:
        """Compute; alerts, awaited; state, awaited; acknowledgement. A death in any gap only repeats things."""
        shipping = self._sender()
        reasons: dict[int, str] = {}
        try:
            await self._apply(partition, messages, reasons)
        except Exception as error:
            if is_broker_error(error):
                raise
            # Nothing says which message it was.
            reasons = {each.offset: f"evaluation failed: {fault_text(error)}" for each in messages} | reasons
        await answers_of([shipping.bury(each, reasons[each.offset]) for each in messages if each.offset in reasons])
        self._at("state written")
        consumer: Any = self._app.consumer
        for message in messages:
            consumer.settle(message)
        self._at("acknowledged")

    async def _apply(self, partition: int, messages: Sequence[Any], reasons: dict[int, str]) -> None:
        """Apply messages, and wait until alerts and state are safe.

        Args:
            partition: of all messages.
            messages: in their order.
            reasons: is given, by offset, why a message belongs with the dead letters.
        """
        shipping = self._sender()
        alerts: list[tuple[int, asyncio.Future[int]]] = []
        for message in messages:
            step = await self._step(partition, message)
            if step.refused:
                reasons[message.offset] = step.refused
            alerts += [(message.offset, await shipping.alert(alert)) for alert in step.alerts]
        if repaired := self._stage.take_repaired():
            self._on_note(
                f"{repaired} windows and counts of repeats of partition {partition} were dated in the future, by a "
                "wrong clock, and were set back."
            )
        changes = self._stage.take_changes(partition)
        self._at("computed")
        answers = await answers_of([sent for _, sent in alerts])
        for (offset, _), answer in zip(alerts, answers, strict=True):
            if isinstance(answer, MessageRefused):
                reasons.setdefault(offset, f"an alert that it made was refused: {answer}")
        self._at("alerts sent")
        self._applied[partition] = max(self._applied[partition], messages[-1].offset)
        await self._mend(partition, await self._write(partition, changes, reasons))

    async def _step(self, partition: int, message: Any) -> StageResult:
        if reason := why_not_fetched(message):
            return StageResult(refused=reason)
        try:
            value = await self._sender().read(message)
        except Exception as error:
            if is_broker_error(error):
                raise
            return StageResult(refused=f"not readable: {fault_text(error)}")
        appended = append_time(self._append_times.of(message))
        return self._stage.take(partition, message.key, value, appended, message.offset)

    async def _write(self, partition: int, changes: Sequence[StateChange], reasons: dict[int, str]) -> list[int]:
        """Write state, and give the offsets of its records. What is refused is forgotten here and in the table."""
        answers = await self._records(partition, [(each.record, each.blob) for each in changes])
        refused = []
        for change, answer in zip(changes, answers, strict=True):
            if isinstance(answer, MessageRefused):
                reasons.setdefault(change.cause, f"the state that it made was refused: {answer}")
                self._stage.forget(partition, change.key)
                refused.append((change.record, None))
            elif change.fault:
                reasons.setdefault(change.cause, f"the state that it made can't be encoded: {change.fault}")
        answers += await self._records(partition, refused)
        return _offsets(answers)

    async def _records(
        self, partition: int, records: Iterable[tuple[bytes, bytes | None]]
    ) -> list[int | MessageRefused]:
        header = applied_header(self._applied[partition])
        sending = [
            await self._sender().send(_CHANGELOG, key, value, header, partition=partition) for key, value in records
        ]
        return await answers_of(sending)

    async def _mend(self, partition: int, offsets: Iterable[int]) -> None:
        """Write all again that is remembered, if the topic is no longer the one that has it."""
        while self._ends.lacks(partition, offsets):
            everything = self._stage.everything(partition)
            offsets = [await self._begun(partition)]
            offsets += _offsets(await self._records(partition, everything.items()))
            self._on_note(
                f"warning: topic {self._connection.topic(_CHANGELOG)} was deleted and made anew while this processor "
                f"runs: {len(everything)} windows and counts of partition {partition} were written again."
            )

    async def _tick(self, partitions: Sequence[int], ready: asyncio.Event) -> None:
        await ready.wait()
        while not self._is_closing:
            await asyncio.sleep(_TICK_SECONDS)
            for partition in partitions:
                # A message that waits tells the time as well as a tick.
                if self._stage.remembers(partition) and self._queues[partition].empty():
                    await self._sender().tick(partition, time.time_ns())

    def _sender(self) -> ResultProducer:
        if self._shipping is None:
            raise RuntimeError("not started")
        return self._shipping


def _offsets(answers: Iterable[int | MessageRefused]) -> list[int]:
    return [answer for answer in answers if isinstance(answer, int)]
