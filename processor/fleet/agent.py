"""Passes messages of topics to a stage on a Faust app: starts with an assignment, sends results, acknowledges in order.

A message is acknowledged once the broker has acknowledged all its results: alerts, pre-matches, or a dead letter. If a
process dies before that, another evaluates the message again, and the results have the same ids.
An error while a result is made or sent makes a dead letter of its message alone; only broker errors end the process.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import faust
from faust.types import TP

from bus.clients.errors import MessageRefused, is_broker_error
from bus.connection import fault_text
from processor.fleet.kafka import transport
from processor.fleet.producer import ResultProducer, Sending, answers_of

Item = TypeVar("Item", bound=Hashable)


class AckOrder(Generic[Item]):
    """The started messages of one partition, oldest first."""

    def __init__(self) -> None:
        self._begun: deque[Item] = deque()
        self._done: set[Item] = set()

    def __len__(self) -> int:
        return len(self._begun)

    def begin(self, item: Item) -> None:
        """Record that work on an item has started; items start in order."""
        self._begun.append(item)

    def finish(self, item: Item) -> list[Item]:
        """Record that an item is finished; return the items that can be acknowledged now, in order."""
        self._done.add(item)
        ready = []
        while self._begun and self._begun[0] in self._done:
            first = self._begun.popleft()
            self._done.discard(first)
            ready.append(first)
        return ready


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


Received = TypeVar("Received")


class AgentWork(Protocol[Received]):
    """The work of an agent on its messages."""

    def assigned(self, owned: frozenset[TP]) -> None:
        """Receive the partitions that this process owns from now on; called at once."""

    async def recall(self, starts: Mapping[TP, int]) -> None:
        """Learn what is needed before the first message is evaluated. starts: the offset of each partition's first."""

    async def receive(self, message: Any, shipping: ResultProducer) -> Received:
        """Read a message. It may wait, and the message may belong to another process afterwards."""

    async def evaluate(self, message: Any, received: Received, shipping: ResultProducer, sending: Sending) -> str:
        """Evaluate a message and send the results, which are added to sending.

        Returns:
            Why the message becomes a dead letter; empty if it does not.
        """


class MessageAgent:
    """An agent on a Faust app."""

    def __init__(
        self,
        app: faust.App,
        name: str,
        topics: Sequence[str],
        work: AgentWork[Any],
        *,
        on_failure: Callable[[BaseException], None],
        at: Callable[[str], None],
    ) -> None:
        """Attach to an app that has not started.

        Args:
            app: as made by make_app.
            name: of the agent.
            topics: full names.
            work: evaluates messages.
            on_failure: called once if this process cannot continue; nothing is acknowledged after that.
            at: called with the name of each point between two steps; tests kill the process there.
        """
        self._app = app
        self._topics = topics
        self._work = work
        self._on_failure = on_failure
        self._shipping: ResultProducer
        self._results = PendingResults(app, self.fail, at)
        self._begin_task: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()
        self._is_closing = False
        self._taking = asyncio.Lock()
        transport.attach(app, name, topics, self._agent, on_revoked=self._on_revoked, on_assigned=self._on_assigned)

    def start(self, shipping: ResultProducer) -> None:
        """Set the producer, before the app starts."""
        self._shipping = shipping

    def fail(self, error: BaseException) -> None:
        """End the process because of an error."""
        self._is_closing = True
        self._on_failure(error)

    async def finish(self) -> None:
        """Accept no new messages and wait until results in flight are acknowledged; the caller limits the time."""
        self._is_closing = True
        async with self._taking:
            pass
        await self._results.finish()

    async def _agent(self, stream: Any) -> None:
        async for event in transport.unacknowledged(stream):
            try:
                await self._begun.wait()
                async with self._taking:
                    await self._take(event.message)
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001  Faust swallows exceptions of agents
                self.fail(error)
            if self._is_closing:
                await asyncio.Event().wait()

    async def _take(self, message: Any) -> None:
        # Between two assignments the generation is still the old one, but no message of it may be started.
        if not self._is_current(message):
            return
        consumer: Any = self._app.consumer
        if not await consumer.admits(message):
            return
        shipping = self._shipping
        received = await self._work.receive(message, shipping)
        if not self._is_current(message):
            return
        order = self._results.begin(message)
        sending: Sending = []
        try:
            reason = await self._work.evaluate(message, received, shipping, sending)
        except Exception as error:
            if is_broker_error(error):
                raise
            reason = f"evaluation failed: {fault_text(error)}"
        await self._results.deliver(order, message, sending, shipping, reason)

    def _is_current(self, message: Any) -> bool:
        is_ours = message.generation_id == self._app.consumer_generation_id
        return is_ours and not self._is_closing and self._begun.is_set()

    async def _on_revoked(self, app: Any, revoked: Iterable[TP], **_: Any) -> None:  # noqa: ARG002  Faust's signal
        self._begun.clear()
        if self._begin_task is not None:
            # If it ended later, it would admit messages of the old assignment.
            self._begin_task.cancel()
        self._results.forget()

    async def _on_assigned(self, app: Any, assigned: Iterable[TP], **_: Any) -> None:  # noqa: ARG002  Faust's signal
        owned = frozenset(each for each in assigned if each.topic in self._topics)
        self._work.assigned(owned)
        self._begin_task = asyncio.create_task(self._begin(owned))

    async def _begin(self, owned: frozenset[TP]) -> None:
        consumer: Any = self._app.consumer
        try:
            await self._work.recall(await consumer.begin(owned))
        except Exception as error:  # noqa: BLE001  otherwise evaluation would stop without a report
            self.fail(error)
        self._begun.set()
