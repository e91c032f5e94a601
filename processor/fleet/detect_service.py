"""The detect stage on a Faust app: it verifies who sent a batch, and evaluates it, and JSON events of other topics."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import faust
from faust.types import TP

from bus.clients.errors import MessageRefused, is_broker_error
from bus.connection import Connection, fault_text
from bus.messages import CLOCK, correction
from bus.topics import EVENTS, KUBERNETES_AUDIT, PROCESSOR_GROUP
from foundation.text import OnNote, ignore_note
from processor.fleet.agent import MessageAgent
from processor.fleet.followers import HostKeysService, RecordsFollower
from processor.fleet.host_watch import HostWatch, events_message
from processor.fleet.json_stage import JsonStage
from processor.fleet.kafka import transport
from processor.fleet.kafka.transport import AppendTimes, credentials, servers
from processor.fleet.message_stage import MessageStage, accept_any_host
from processor.fleet.producer import ResultProducer, Sending, headers_of, why_not_fetched
from processor.hosts.identity import IdentityGate, RejectedMessage, VerifiedMessage


def make_app(connection: Connection, partitions: int, on_note: OnNote = ignore_note) -> faust.App:
    """Return a Faust app for a broker; nothing is connected. Source of the settings: Faust's documentation, by name.

    Args:
        connection: the broker.
        partitions: of the topics that are read.
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


class _JsonMessages:
    """The evaluation of messages with JSON events; no state belongs to their partitions."""

    def __init__(self, stage: JsonStage, append_times: AppendTimes, at: Callable[[str], None]) -> None:
        self._stage = stage
        self._append_times = append_times
        self._at = at

    def assigned(self, owned: frozenset[TP]) -> None:
        """Do nothing."""

    async def recall(self, starts: Mapping[TP, int]) -> None:
        """Do nothing."""

    async def receive(self, message: Any, shipping: ResultProducer) -> str:  # noqa: ARG002  of the protocol
        """Return why a message becomes a dead letter without being evaluated; empty if it does not."""
        return why_not_fetched(message)

    async def evaluate(self, message: Any, received: str, shipping: ResultProducer, sending: Sending) -> str:
        """Evaluate a message and send the results, which are added to sending; return why it is a dead letter."""
        if received:
            return received
        position = (message.topic, message.partition, message.offset)
        appended, sent = self._append_times.of(message), max(round(message.timestamp * 1000), 1)
        result = self._stage.take(message.value, position, appended, sent)
        if result.alerts:
            self._at("json evaluated")
        await shipping.results(result, sending)
        return result.refused


class DetectService:
    """The detect stage on a Faust app."""

    def __init__(
        self,
        app: faust.App,
        connection: Connection,
        stage: MessageStage,
        json: JsonStage,
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
            stage: evaluates messages of the events topic.
            json: evaluates messages of topics with JSON events; a backlog of one kind doesn't hold up the other.
            host_keys: verify from which hosts batches come; None to accept all.
            records: read topics that evaluation looks things up in.
            on_note: receives messages for an operator.
            on_failure: called once if this process cannot continue; nothing is acknowledged after that.
            at: called with the name of each point between two steps; tests kill the process there.
        """
        self._partitions = frozenset(range(app.conf.topic_partitions))
        self._stage = stage
        self._host_keys = host_keys
        self._gate: IdentityGate | None = None if host_keys is None else host_keys.gate
        self._records = records
        self._at = at
        self._append_times = AppendTimes(on_note)
        self._owned: frozenset[int] = frozenset()
        """Partitions that were recalled and have been owned since."""
        self._agent = MessageAgent(app, "detect", (connection.topic(EVENTS),), self, on_failure=on_failure, at=at)
        self._watch = HostWatch(app, connection, stage, gate=self._gate, on_note=on_note, on_failure=self._agent.fail)
        self._json = MessageAgent(
            app,
            "json",
            (connection.topic(KUBERNETES_AUDIT), *json.sources),
            _JsonMessages(json, self._append_times, at),
            on_failure=on_failure,
            at=lambda point: at(f"json {point}"),
        )

    def start(self, shipping: ResultProducer) -> None:
        """Set the producer, before the app starts."""
        self._agent.start(shipping)
        self._json.start(shipping)
        self._watch.start(shipping)

    async def finish(self) -> None:
        """Accept no new messages and wait until results in flight are acknowledged; the caller limits the time."""
        self._watch.finish()
        await asyncio.gather(self._agent.finish(), self._json.finish())

    def assigned(self, owned: frozenset[TP]) -> None:
        """Forget the hosts of partitions that are another's now, or were for some time."""
        self._owned &= {each.partition for each in owned}
        self._watch.forget(self._partitions - self._owned)

    async def recall(self, starts: Mapping[TP, int]) -> None:
        """Wait for what evaluation looks things up in, and learn what others knew of the hosts of new partitions."""
        if self._host_keys is not None:
            await self._host_keys.ready()
        for each in self._records:
            await each.ready()
        fresh = {each.partition: start for each, start in starts.items() if each.partition not in self._owned}
        if fresh:
            await self._watch.recall(fresh)
            self._owned |= frozenset(fresh)

    async def receive(self, message: Any, shipping: ResultProducer) -> _Received:
        """Return what is known of a message before it is evaluated."""
        if reason := why_not_fetched(message):
            return _Received(reason=reason)
        try:
            appended = self._append_times.of(message)
            # Verify before anything else reads its bytes.
            checked = None if self._gate is None else self._gate.check(events_message(message, appended))
            value = b"" if isinstance(checked, RejectedMessage) else await shipping.read(message)
        except Exception as error:
            if is_broker_error(error):
                raise
            return _Received(reason=f"not readable: {fault_text(error)}")
        return _Received(appended, checked, value)

    async def evaluate(self, message: Any, received: _Received, shipping: ResultProducer, sending: Sending) -> str:
        """Evaluate a message and send the results, which are added to sending.

        Returns:
            Why the message becomes a dead letter; empty if it does not.
        """
        try:
            return received.reason or await self._evaluate(message, received, shipping, sending)
        finally:
            self._watch.taken(message.partition, message.offset)

    async def _evaluate(self, message: Any, received: _Received, shipping: ResultProducer, sending: Sending) -> str:
        position = (message.topic, message.partition, message.offset)
        appended, checked = received.appended, received.checked
        if isinstance(checked, RejectedMessage):
            result = self._stage.reject(checked, position, appended)
        else:
            headers = tuple(headers_of(message))
            offset = correction(headers, appended * 1_000_000)
            gate = self._gate
            check_host = accept_any_host if gate is None or checked is None else partial(gate.agree, checked)
            result = self._stage.take(
                message.partition,
                received.value,
                appended,
                offset,
                check_host,
                is_verified=checked is not None and checked.is_verified,
                position=message.offset,
                is_measured=any(name == CLOCK for name, _ in headers),
            )
            if result.rejected is not None:
                result = self._stage.reject(result.rejected, position, appended)
            elif self._host_keys and checked and checked.pin and not result.refused:
                sending.append(await self._host_keys.pin(checked.pin))
        self._at("evaluated")
        await shipping.results(result, sending)
        if isinstance(checked, VerifiedMessage) and checked.is_verified:
            for sent in sending:
                sent.add_done_callback(partial(self._forget_refused, checked.host_id))
        return result.refused

    def _forget_refused(self, host_id: str, sent: "asyncio.Future[int]") -> None:
        """Evaluate batches of a host again if the broker refused results: dead letters are replayed."""
        if not sent.cancelled() and isinstance(sent.exception(), MessageRefused):
            self._stage.evaluated.drop(host_id)
