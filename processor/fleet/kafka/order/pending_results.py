"""Acknowledges the messages of one topic in order, each once the broker has all its results."""

import asyncio
from collections.abc import Callable
from typing import Any

import faust
from faust.types import TP

from bus.errors.refusals import MessageRefused
from processor.fleet.kafka.order.ack_order import AckOrder
from processor.fleet.producer import ResultProducer, Sending, answers_of

_MAX_PENDING = 500
"""Messages whose results are not acknowledged by the broker yet; more would only hide that it is slow."""


class PendingResults:
    """The messages whose results are being sent."""

    def __init__(
        self, app: faust.App, on_failure: Callable[[BaseException], None], at: Callable[[str], None] = lambda _: None
    ) -> None:
        """Begin with none.

        Args:
            app: whose consumer acknowledges.
            on_failure: called if this process cannot continue.
            at: called with the name of a point between two steps; tests kill the process there.
        """
        self._app = app
        self._on_failure = on_failure
        self._at = at
        self._order: dict[TP, AckOrder[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, message: Any) -> AckOrder[Any]:
        """Record that work on a message has started; return the order of its partition."""
        order = self._order.setdefault(message.tp, AckOrder())
        order.begin(message)
        return order

    async def deliver(
        self, order: AckOrder[Any], message: Any, sending: Sending, shipping: ResultProducer, reason: str
    ) -> None:
        """Acknowledge a message once its results have arrived; wait only while too many others are pending.

        Args:
            order: as returned by begin.
            message: the message.
            sending: its results.
            shipping: sends its dead letter.
            reason: why it becomes a dead letter; empty if it does not.
        """
        if reason:
            sending.append(shipping.send_dead_letter(message, reason))
        if not sending:
            self._settle(order, message)
            return
        task = asyncio.create_task(self._wait(order, message, sending, None if reason else shipping))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if len(self._tasks) >= _MAX_PENDING:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    def forget(self) -> None:
        """Acknowledge nothing that was begun so far: it is delivered again to the new owners of the partitions."""
        self._order.clear()

    async def finish(self) -> None:
        """Wait until results in flight are acknowledged."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _wait(
        self, order: AckOrder[Any], message: Any, sending: Sending, shipping: ResultProducer | None
    ) -> None:
        try:
            refused = [answer for answer in await answers_of(sending) if isinstance(answer, MessageRefused)]
            if refused and shipping is not None:
                await shipping.send_dead_letter(message, f"{len(refused)} of its results were refused: {refused[0]}")
            self._at("results sent")
            self._settle(order, message)
        except Exception as error:  # noqa: BLE001  nobody awaits the task, and the message would never be acknowledged
            self._on_failure(error)

    def _settle(self, order: AckOrder[Any], message: Any) -> None:
        # A message from before the last rebalance is delivered again to the new owner of its partition.
        if self._order.get(message.tp) is not order:
            return
        consumer: Any = self._app.consumer
        for done in order.finish(message):
            consumer.settle(done)
