"""The detect stage on a Faust app: it passes messages to the stage, sends the results, and acknowledges in order.

A message of the events topic is acknowledged once the broker has acknowledged all its results: alerts, pre-matches, or
a dead letter. If a process dies before that, another evaluates the message again, and the results have the same ids.
An error while a result is made or sent makes a dead letter of its message alone; only broker errors end the process.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust
from faust.types import TP

from bus.connection import Connection
from bus.errors.refusals import is_broker_error
from bus.errors.unavailable import fault_text
from bus.messages.clock_offset import correction
from bus.topics import EVENTS, PROCESSOR_GROUP
from processor.fleet.hosts.keys import HostKeysService
from processor.fleet.hosts.watch import HostWatch
from processor.fleet.kafka import transport
from processor.fleet.kafka.append_times import AppendTimes
from processor.fleet.kafka.credentials import credentials, servers
from processor.fleet.message_stage import CheckHost, MessageStage, accept_any_host
from processor.fleet.pending_results import PendingResults
from processor.fleet.producer import ResultProducer, Sending, headers_of, why_not_fetched
from processor.fleet.records import RecordsFollower
from processor.identity.gate import EventsMessage, IdentityGate, RejectedMessage, VerifiedMessage
from schemas.text.notes import OnNote, ignore_note


def make_app(connection: Connection, partitions: int, data_folder: Path, on_note: OnNote = ignore_note) -> faust.App:
    """Return a Faust app for a broker; nothing is connected. Source of the settings: Faust's documentation, by name.

    Args:
        connection: the broker.
        partitions: of the topics that are read.
        data_folder: required by Faust.
        on_note: receives messages for an operator, on another thread.
    """
    app = transport.FaustApp(
        connection.topic(PROCESSOR_GROUP),
        broker=[f"kafka://{server}" for server in servers(connection)],
        broker_client_id="lanner-processor",
        broker_credentials=credentials(connection),
        # Partitions of a dead worker are taken over after about 8 s instead of more than 30 s. Brokers allow no shorter
        # session by default, and one whose machine stalls for some seconds should not lose its partitions.
        broker_session_timeout=6,
        broker_heartbeat_interval=1,
        broker_rebalance_timeout=8,
        broker_commit_interval=1.0,
        broker_commit_every=1000,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=1 << 20,
        producer_compression_type=None if connection.compression == "none" else connection.compression,
        stream_buffer_maxsize=64,
        stream_wait_empty=False,
        store="memory://",
        table_standby_replicas=0,
        topic_partitions=partitions,
        topic_replication_factor=1,
        # Topics are made beforehand: one that Faust made would have the wrong settings or no partitions yet.
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        autodiscover=False,
        datadir=str(data_folder),
    )
    app.transport = transport.Transport(app, on_note)
    return app


@dataclass(frozen=True, slots=True)
class _Received:
    """A message as far as it is known before it is evaluated."""

    appended: int = 0
    """Broker's clock, ms."""
    checked: VerifiedMessage | RejectedMessage | None = None
    """The result of verifying its signature; None if signatures are not checked."""
    value: bytes = b""
    """Translated to the schema of this release."""
    reason: str = ""
    """Why it becomes a dead letter; empty if it does not."""


class DetectService:
    """The detect stage on a Faust app."""

    def __init__(
        self,
        app: faust.App,
        connection: Connection,
        stage: MessageStage,
        *,
        host_keys: HostKeysService | None = None,
        records: Sequence[RecordsFollower] = (),
        on_note: OnNote,
        on_failure: Callable[[BaseException], None],
        at: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Attach to an app that has not started.

        Args:
            app: as made by make_app.
            connection: the same broker, for what is sent.
            stage: evaluates messages.
            host_keys: verify from which hosts batches come; None to accept all.
            records: read topics that evaluation looks things up in.
            on_note: receives messages for an operator.
            on_failure: called once if this process cannot continue; nothing is acknowledged after that.
            at: called with the name of each point between two steps; tests kill the process there.
        """
        self._app = app
        self._connection = connection
        self._stage = stage
        self._host_keys = host_keys
        self._records = records
        self._on_note = on_note
        self._on_failure = on_failure
        self._at = at
        self._append_times = AppendTimes(on_note)
        self._shipping: ResultProducer | None = None
        self._results = PendingResults(app, self._fail, at)
        self._recall_task: asyncio.Task[None] | None = None
        self._owned: frozenset[int] = frozenset()
        """Partitions that were recalled and have been owned since."""
        self._recalled = asyncio.Event()
        self._is_closing = False
        self._events = connection.topic(EVENTS)
        self._watch = HostWatch(app, connection, stage, gate=self._gate, on_note=on_note, on_failure=self._fail)
        topic = app.topic(self._events, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        app.agent(topic, name="detect")(self._agent)
        revoked: Any = app.on_partitions_revoked
        revoked.connect(self._on_revoked)
        assigned: Any = app.on_partitions_assigned
        assigned.connect(self._on_assigned)

    def start(self, shipping: ResultProducer) -> None:
        """Set the producer, before the app starts."""
        self._shipping = shipping
        self._watch.start(shipping)

    @property
    def _gate(self) -> IdentityGate | None:
        return None if self._host_keys is None else self._host_keys.gate

    async def finish(self) -> None:
        """Accept no new messages and wait until results in flight are acknowledged."""
        self._is_closing = True
        self._watch.finish()
        await self._results.finish()

    async def _agent(self, stream: Any) -> None:
        async for event in transport.unacknowledged(stream):
            try:
                await self._recalled.wait()
                await self._take(event.message)
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001  Faust swallows exceptions of agents
                self._fail(error)
            if self._is_closing:
                await asyncio.Event().wait()

    async def _take(self, message: Any) -> None:
        # Between two assignments the generation is still the old one, but no message of it may be started.
        if not self._is_current(message):
            return
        consumer: Any = self._app.consumer
        if not await consumer.admits(message):
            return
        received = await self._received(message)
        if not self._is_current(message):
            return
        order = self._results.begin(message)
        sending: Sending = []
        try:
            reason = received.reason or await self._evaluate(message, received, sending)
        except Exception as error:
            if is_broker_error(error):
                raise
            reason = f"evaluation failed: {fault_text(error)}"
        self._watch.taken(message.partition, message.offset)
        await self._results.deliver(order, message, sending, self._sender(), reason)

    def _is_current(self, message: Any) -> bool:
        is_ours = message.generation_id == self._app.consumer_generation_id
        return is_ours and not self._is_closing and self._recalled.is_set()

    async def _received(self, message: Any) -> _Received:
        """Return what is known of a message before it is evaluated."""
        if reason := why_not_fetched(message):
            return _Received(reason=reason)
        try:
            appended = self._append_times.of(message)
            # Verify before anything else reads its bytes.
            checked = None if self._gate is None else self._gate.check(_events_message(message, appended))
            value = b"" if isinstance(checked, RejectedMessage) else await self._sender().read(message)
        except Exception as error:
            if is_broker_error(error):
                raise
            return _Received(reason=f"not readable: {fault_text(error)}")
        return _Received(appended, checked, value)

    async def _evaluate(self, message: Any, received: _Received, sending: Sending) -> str:
        """Evaluate a message and send the results, which are added to sending.

        Returns:
            Why the message becomes a dead letter; empty if it does not.
        """
        position = (message.topic, message.partition, message.offset)
        appended, checked = received.appended, received.checked
        if isinstance(checked, RejectedMessage):
            result = self._stage.reject(checked, position, appended)
        else:
            offset = correction(headers_of(message), appended * 1_000_000)
            result = self._stage.take(
                message.partition,
                received.value,
                appended,
                offset,
                self._agreement(checked),
                is_verified=checked is not None and checked.is_verified,
            )
            if result.rejected is not None:
                result = self._stage.reject(result.rejected, position, appended)
            elif self._host_keys and checked and checked.pin and not result.refused:
                sending.append(await self._host_keys.pin(checked.pin))
        self._at("evaluated")
        for alert in result.alerts:
            sending.append(await self._sender().alert(alert))
        for key, pre_match in result.pre_matches:
            sending.append(await self._sender().pre_match(key, pre_match))
        for key, record in result.sessions:
            sending.append(await self._sender().session(key, record))
        return result.refused

    def _agreement(self, checked: VerifiedMessage | None) -> CheckHost:
        gate = self._gate
        return accept_any_host if gate is None or checked is None else lambda host_id: gate.agree(checked, host_id)

    def _sender(self) -> ResultProducer:
        if self._shipping is None:
            raise RuntimeError("not started")
        return self._shipping

    def _fail(self, error: BaseException) -> None:
        self._is_closing = True
        self._on_failure(error)

    async def _on_revoked(self, app: Any, revoked: Iterable[TP], **_: Any) -> None:  # noqa: ARG002  Faust's signal
        self._recalled.clear()
        if self._recall_task is not None:
            # If it ended later, it would admit messages of the old assignment.
            self._recall_task.cancel()
        self._results.forget()

    async def _on_assigned(self, app: Any, assigned: Iterable[TP], **_: Any) -> None:  # noqa: ARG002  Faust's signal
        owned = frozenset(each.partition for each in assigned if each.topic == self._events)
        fresh = owned - self._owned
        self._owned &= owned
        gone = frozenset(range(self._app.conf.topic_partitions)) - owned | fresh
        self._watch.forget(gone)
        self._recall_task = asyncio.create_task(self._recall(owned, fresh))

    async def _recall(self, owned: frozenset[int], fresh: frozenset[int]) -> None:
        consumer: Any = self._app.consumer
        try:
            starts = await consumer.begin(TP(self._events, partition) for partition in owned)
            if self._host_keys is not None:
                await self._host_keys.ready()
            for each in self._records:
                await each.ready()
            if fresh:
                await self._watch.recall({partition: starts[TP(self._events, partition)] for partition in fresh})
                self._owned |= fresh
        except Exception as error:  # noqa: BLE001  otherwise evaluation would stop without a report
            self._fail(error)
        self._recalled.set()


def _events_message(message: Any, appended: int) -> EventsMessage:
    value = message.value or b""
    return EventsMessage(message.partition, message.key, headers_of(message), value, appended * 1_000_000)
