"""The stage for JSON events on a Faust app: those of API servers and of other sources."""

from collections.abc import Callable, Mapping
from typing import Any

import faust
from faust.types import TP

from bus.connection import Connection
from bus.topics import KUBERNETES_AUDIT
from foundation.text import OnNote
from processor.fleet.agent import MessageAgent
from processor.fleet.json_stage import JsonStage
from processor.fleet.kafka.transport import AppendTimes
from processor.fleet.producer import ResultProducer, Sending, why_not_fetched


class JsonService:
    """The stage for JSON events on a Faust app."""

    def __init__(
        self,
        app: faust.App,
        connection: Connection,
        stage: JsonStage,
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
        self._stage = stage
        self._at = at
        self._append_times = AppendTimes(on_note)
        topics = (connection.topic(KUBERNETES_AUDIT), *stage.sources)
        self._agent = MessageAgent(
            app, "audit", topics, self, on_failure=on_failure, at=lambda point: at(f"audit {point}")
        )
        self.start, self.finish = self._agent.start, self._agent.finish

    def assigned(self, owned: frozenset[TP]) -> None:
        """Do nothing: no state belongs to a partition."""

    async def recall(self, starts: Mapping[TP, int]) -> None:
        """Do nothing, as above."""

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
            self._at("audit evaluated")
        await shipping.results(result, sending)
        return result.refused
