"""The audit stage on a Faust app: each message is acknowledged once the broker has its alerts or its dead letter.

If a process dies before that, another evaluates the message again, and the alerts have the same ids.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import faust
from faust.types import TP

from bus.connection import Connection
from bus.errors.refusals import is_broker_error
from bus.errors.unavailable import fault_text
from bus.topics import KUBERNETES_AUDIT
from processor.fleet.audit.stage import AuditStage
from processor.fleet.kafka import transport
from processor.fleet.kafka.append_times import AppendTimes
from processor.fleet.pending_results import PendingResults
from processor.fleet.producer import ResultProducer, Sending, why_not_fetched
from schemas.text.notes import OnNote


class AuditService:
    """The audit stage on a Faust app."""

    def __init__(
        self,
        app: faust.App,
        connection: Connection,
        stage: AuditStage,
        *,
        on_note: OnNote,
        on_failure: Callable[[BaseException], None],
        at: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Attach to an app that has not started.

        Args:
            app: as made by make_app.
            connection: the same broker.
            stage: evaluates messages.
            on_note: receives messages for an operator.
            on_failure: called once if this process cannot continue; nothing is acknowledged after that.
            at: called with the name of each point between two steps; tests kill the process there.
        """
        self._app = app
        self._stage = stage
        self._on_failure = on_failure
        self._at = at
        self._append_times = AppendTimes(on_note)
        self._shipping: ResultProducer | None = None
        self._results = PendingResults(app, self._fail, lambda point: at(f"audit {point}"))
        self._begun = asyncio.Event()
        self._begin_task: asyncio.Task[None] | None = None
        self._is_closing = False
        self._names = (connection.topic(KUBERNETES_AUDIT), *stage.sources)
        topic = app.topic(*self._names, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        app.agent(topic, name="audit")(self._agent)
        revoked: Any = app.on_partitions_revoked
        revoked.connect(self._on_revoked)
        assigned: Any = app.on_partitions_assigned
        assigned.connect(self._on_assigned)

    def start(self, shipping: ResultProducer) -> None:
        """Set the producer, before the app starts."""
        self._shipping = shipping

    async def finish(self) -> None:
        """Accept no new messages and wait until results in flight are acknowledged."""
        self._is_closing = True
        await self._results.finish()

    async def _agent(self, stream: Any) -> None:
        async for event in transport.unacknowledged(stream):
            try:
                await self._begun.wait()
                await self._take(event.message)
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001  Faust swallows exceptions of agents
                self._fail(error)
            if self._is_closing:
                await asyncio.Event().wait()

    async def _take(self, message: Any) -> None:
        # Between two assignments the generation is still the old one, but no message of it may be started.
        is_current = message.generation_id == self._app.consumer_generation_id and self._begun.is_set()
        shipping = self._shipping
        if not is_current or self._is_closing or shipping is None:
            return
        consumer: Any = self._app.consumer
        if not await consumer.admits(message):
            return
        order = self._results.begin(message)
        sending: Sending = []
        try:
            reason = why_not_fetched(message) or await self._evaluate(message, sending, shipping)
        except Exception as error:
            if is_broker_error(error):
                raise
            reason = f"evaluation failed: {fault_text(error)}"
        await self._results.deliver(order, message, sending, shipping, reason)

    async def _evaluate(self, message: Any, sending: Sending, shipping: ResultProducer) -> str:
        """Evaluate a message and send the results, which are added to sending; return why it is a dead letter."""
        position = (message.topic, message.partition, message.offset)
        appended, sent = self._append_times.of(message), max(round(message.timestamp * 1000), 1)
        result = self._stage.take(message.value, position, appended, sent)
        if result.alerts:
            self._at("audit evaluated")
        for alert in result.alerts:
            sending.append(await shipping.alert(alert))
        for key, pre_match in result.pre_matches:
            sending.append(await shipping.pre_match(key, pre_match))
        for key, record in result.sessions:
            sending.append(await shipping.session(key, record))
        return result.refused

    def _fail(self, error: BaseException) -> None:
        self._is_closing = True
        self._on_failure(error)

    async def _on_revoked(self, app: Any, revoked: Iterable[TP], **_: Any) -> None:  # noqa: ARG002  Faust's signal
        self._begun.clear()
        if self._begin_task is not None:
            # If it ended later, it would admit messages of the old assignment.
            self._begin_task.cancel()
        self._results.forget()

    async def _on_assigned(self, app: Any, assigned: Iterable[TP], **_: Any) -> None:  # noqa: ARG002  Faust's signal
        owned = [each for each in assigned if each.topic in self._names]
        self._begin_task = asyncio.create_task(self._begin(owned))

    async def _begin(self, owned: Iterable[TP]) -> None:
        consumer: Any = self._app.consumer
        try:
            await consumer.begin(owned)
        except Exception as error:  # noqa: BLE001  otherwise evaluation would stop without a report
            self._fail(error)
        self._begun.set()
