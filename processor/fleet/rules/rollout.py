"""Follows the rules topic and switches a processor to new versions between two batches, without stopping it.

A new version is compiled while the previous one stays active. From then on the correlate stage supports both, since
other processors may evaluate either. Detection switches once every live host applies the new pushdown filter and every
other processor supports the version, or after a timeout, which is reported. When all processors have switched, old
versions are dropped: first from the filter of collectors, a minute later from window state.

`machine` decides all that; this module reads the topics and performs the actions.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Message

from bus.clients.compacted import CompactedTopicReader, follow
from bus.clients.errors import MessageRefused
from bus.connection import Connection
from bus.messages import JSON_HEADERS
from bus.published_rules import CURRENT
from bus.topics import PROCESSORS, PUSHDOWN_FILTERS, RULES
from foundation.text import OnNote
from processor.correlation.stage import CorrelateStage
from processor.detection.rule_timing import RuleTiming
from processor.fleet.json_stage import JsonStage
from processor.fleet.message_stage import MessageStage
from processor.fleet.producer import ResultProducer
from processor.fleet.rules.actions import (
    Action,
    Activate,
    Close,
    Compile,
    Failed,
    Note,
    Offer,
    ReportChange,
    RulesInUse,
    RulesRefused,
    Send,
    SendAlert,
    Support,
)
from processor.fleet.rules.machine import STEP_SECONDS, Now, RolloutMachine
from processor.fleet.rules.peers import REPORTED
from processor.splitting import Plan
from schemas.alert import Alert

_MAX_CHARACTERS = 500

Prepare = Callable[[Message], RulesInUse]
"""Compiles a version; runs on a worker thread; raises RulesRefused."""


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages with which a processor evaluates messages."""

    detect: MessageStage
    correlate: CorrelateStage
    json: JsonStage


class RulesRollout:
    """Rolls out published rules on one processor."""

    def __init__(
        self,
        connection: Connection,
        in_use: RulesInUse,
        stages: Stages,
        prepare: Prepare,
        *,
        former: Mapping[str, Plan],
        worker: str,
        wait_seconds: float,
        takes_published: bool = True,
        on_note: OnNote,
    ) -> None:
        """Begin with the active version; nothing is started.

        Args:
            connection: the broker.
            in_use: the active version.
            stages: the stages to switch.
            prepare: compiles a version.
            former: the plans of versions that others may still evaluate, or did until recently.
            worker: the name of this processor.
            wait_seconds: how long to wait for hosts and other processors.
            takes_published: whether to use versions of the topic.
            on_note: receives messages for an operator.
        """
        self._connection = connection
        self._detect, self._correlate, self._json = stages.detect, stages.correlate, stages.json
        self._prepare = prepare
        self._takes_published = takes_published
        self._on_note = on_note
        self.timing = RuleTiming(lambda: self.in_use.ruleset.detector)
        """The cost of each rule."""
        self._detect.evaluation.add_observer(self.timing.see)
        self._machine = RolloutMachine(
            in_use,
            self._detect.reports,
            former=former,
            prefix=connection.prefix,
            worker=worker,
            wait_seconds=wait_seconds,
            wall=time.time_ns(),
            costs=lambda: self.timing.seconds,
        )
        self._messages: asyncio.Queue[tuple[str, Message] | None] = asyncio.Queue()
        self._stopped = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._shipping: ResultProducer | None = None
        self._last_error = ""
        self._support(self._machine.support_all())

    @property
    def in_use(self) -> RulesInUse:
        """The active version."""
        return self._machine.in_use

    @property
    def workers(self) -> list[str]:
        """The names of the live processors, as they report them."""
        return self._machine.workers(_now())

    def start(self, shipping: ResultProducer) -> None:
        """Start; on the running loop."""
        self._shipping = shipping
        loop, put = asyncio.get_running_loop(), self._messages.put_nowait
        follow(
            CompactedTopicReader(self._connection, [RULES, PUSHDOWN_FILTERS, PROCESSORS]),
            self._stopped,
            lambda *taken: loop.call_soon_threadsafe(put, taken),
            at_end=lambda: loop.call_soon_threadsafe(put, None),
        )
        self._task = asyncio.create_task(self._run())

    async def finish(self) -> None:
        """Stop, and report to the others that this processor is gone."""
        self._stopped.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._perform(self._machine.finish())

    async def _run(self) -> None:
        while True:
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001  the processor continues to evaluate, but must report it
                self._report_error(error)

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(STEP_SECONDS):
                taken = await self._messages.get()
        except TimeoutError:
            pass
        else:
            self._take(taken)
            while not self._messages.empty():
                self._take(self._messages.get_nowait())
        await self._perform(self._machine.consider())
        await self._perform(self._machine.step(_now()))

    def _take(self, taken: tuple[str, Message] | None) -> None:
        if taken is None:
            self._machine.take_end()
            return
        topic, message = taken
        key, value, stamp = message.key() or b"", message.value(), message.timestamp()[1]
        if topic == PROCESSORS:
            self._machine.take_report(key, value, stamp)
        elif topic == PUSHDOWN_FILTERS:
            self._machine.take_filter(key, value)
        elif key == CURRENT and self._takes_published:
            self._machine.take_offer(Offer(value, stamp, message.offset() or 0, message))

    async def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            # An action that fails must not block those that other processors wait for.
            try:
                await self._do(action)
            except Exception as error:  # noqa: BLE001  the processor continues to evaluate, but must report it
                self._report_error(error)

    async def _do(self, action: Action) -> None:
        match action:
            case Compile(offer):
                await self._perform(await self._compiled(offer))
            case Support():
                self._support(action)
            case Activate(rules, old):
                self._detect.change_rules(rules.ruleset, decode=rules.decode)
                self._json.change_rules()
                old.close()
            case Close(rules):
                rules.close()
            case Send(topic, key, value):
                await self._send(topic, key, value)
            case SendAlert(alert):
                await self._alert(alert)
            case ReportChange(alert, version):
                await self._alert(alert)
                await self._send(PROCESSORS, REPORTED, version.encode())
                self._machine.mark_reported(version)
            case Note(text, level):
                self._on_note(text, level)
            case Failed(error):
                self._report_error(error)

    async def _compiled(self, offer: Offer) -> list[Action]:
        try:
            fresh = await asyncio.to_thread(self._prepare, offer.message)
        except RulesRefused as error:
            return self._machine.refused(offer, str(error))
        except Exception as error:  # noqa: BLE001  if a version cannot be compiled, the active one stays
            return self._machine.refused(offer, f"it cannot be compiled: {type(error).__name__}: {error}")
        return self._machine.compiled(offer, fresh, _now())

    def _support(self, action: Support) -> None:
        self._correlate.change_rules(action.plan, is_settled=action.is_settled)

    async def _alert(self, alert: Alert) -> None:
        if self._shipping is None:
            return
        try:
            await (await self._shipping.alert(alert))
        except MessageRefused as error:
            # It would be refused again; the steps after it must go on.
            self._on_note(f"alert {alert.rule!r} was refused: {error}. Its text: {alert.output[:_MAX_CHARACTERS]}")

    async def _send(self, topic: str, key: bytes, value: bytes | None) -> None:
        if self._shipping is not None:
            done = await self._shipping.send(topic, key, value, JSON_HEADERS)
            done.add_done_callback(self._sent)

    def _sent(self, done: "asyncio.Future[Any]") -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            self._report_error(error)

    def _report_error(self, error: BaseException) -> None:
        text = f"{type(error).__name__}: {error}"
        if text != self._last_error:
            self._last_error = text
            self._on_note(f"following the published rules failed: {text}.", "warning")


def _now() -> Now:
    return Now(time.monotonic(), time.time_ns())
