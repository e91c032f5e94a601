"""Follows the rules topic and switches a processor to new versions between two batches, without stopping it.

A new version is compiled while the previous one stays active. From then on the correlate stage supports both, since
other processors may evaluate either. Detection switches once every live host applies the new pushdown filter and every
other processor supports the version, or after a timeout, which is reported. When all processors have switched, old
versions are dropped: first from the filter of collectors, a minute later from window state.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import Message

from bus.clients.compacted import CompactedTopicReader
from bus.connection import Connection
from bus.errors.refusals import MessageRefused
from bus.messages.headers import Headers
from bus.messages.published_rules import CURRENT
from bus.topics import INTEREST, PROCESSORS, RULES
from processor.correlation.plan.split import Plan, merged
from processor.correlation.stage import CorrelateStage
from processor.fleet.message_stage import MessageStage
from processor.fleet.producer import ResultProducer
from processor.fleet.rules.alerts import interest_unusable, rules_changed, rules_refused
from processor.fleet.rules.peers import REPORTED, Peers, Report, all_evaluate, not_ready
from processor.fleet.rules.version import RulesInUse, RulesRefused
from schemas.alert import Alert
from schemas.encoding.filter_json import BadFilter, decode_filter
from schemas.published_rules import is_version
from schemas.text.notes import OnNote

_STEP_SECONDS = 0.2
_REPORT_SECONDS = 5.0
_KEEP_SECONDS = 60.0
"""How long old versions are supported after the last switch: their pre-matches may still be in flight."""
_SETTLE_SECONDS = 2 * _REPORT_SECONDS
"""The same if no other version is known: within this time every other processor has reported its version."""
_MAX_NAMED = 20
_MAX_CHARACTERS = 500
_JSON: Headers = [("content-type", b"application/json")]

Prepare = Callable[[Message], RulesInUse]
"""Compiles a version; runs on a worker thread; raises RulesRefused."""


class RulesRollout:
    """Rolls out published rules on one processor."""

    def __init__(
        self,
        connection: Connection,
        in_use: RulesInUse,
        stages: tuple[MessageStage, CorrelateStage],
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
        self.in_use = in_use
        self._connection = connection
        self._detect, self._correlate = stages
        self._prepare = prepare
        self._worker = worker
        self._wait_seconds = wait_seconds
        self._takes_published = takes_published
        self._on_note = on_note
        self._peers = Peers()
        self._filters: dict[bytes, bytes] = {}
        self._unusable: set[bytes] = set()
        self._offered: Message | None = None
        self._pending: RulesInUse | None = None
        self._pending_since = 0.0
        self._since = time.time_ns()
        self._plans: dict[str, Plan] = {**former, in_use.version: in_use.ruleset.plan}
        self._all_since: float | None = None
        self._is_settled = False
        """Whether the state of old versions was dropped."""
        self._refused = ""
        self._change: Alert | None = None
        self._reported: tuple[float, bytes] = (0.0, b"")
        self._messages: asyncio.Queue[tuple[str, Message] | None] = asyncio.Queue()
        self._has_read_all = False
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._shipping: ResultProducer | None = None
        self._last_error = ""
        self._support_all()

    def start(self, shipping: ResultProducer) -> None:
        """Start; on the running loop."""
        self._shipping = shipping
        loop = asyncio.get_running_loop()
        follower = CompactedTopicReader(self._connection, [RULES, INTEREST, PROCESSORS])
        self._thread = threading.Thread(target=self._follow, args=(follower, loop), name="rules", daemon=True)
        self._thread.start()
        self._task = asyncio.create_task(self._run())

    async def finish(self) -> None:
        """Stop, and report to the others that this processor is gone."""
        self._stopped.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._send(PROCESSORS, self._worker.encode(), None)
        self.in_use.close()
        if self._pending is not None:
            self._pending.close()

    def _follow(self, follower: CompactedTopicReader, loop: asyncio.AbstractEventLoop) -> None:
        is_complete = False
        try:
            while not self._stopped.is_set():
                taken = follower.poll(0.2)
                if taken is not None:
                    loop.call_soon_threadsafe(self._messages.put_nowait, taken)
                elif follower.has_read_all and not is_complete:
                    is_complete = True
                    loop.call_soon_threadsafe(self._messages.put_nowait, None)
        except RuntimeError:
            # The loop is closed: this process is shutting down.
            return
        finally:
            follower.close()

    async def _run(self) -> None:
        while True:
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001  the processor continues to evaluate, but must report it
                self._report_error(error)

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(_STEP_SECONDS):
                taken = await self._messages.get()
        except TimeoutError:
            pass
        else:
            self._take(taken)
            while not self._messages.empty():
                self._take(self._messages.get_nowait())
        if self._has_read_all:
            await self._step()

    def _take(self, taken: tuple[str, Message] | None) -> None:
        if taken is None:
            self._has_read_all = True
            return
        topic, message = taken
        key, value = message.key() or b"", message.value()
        if topic == PROCESSORS:
            self._peers.take(key, value, message.timestamp()[1])
        elif topic == INTEREST and value is None:
            self._filters.pop(key, None)
        elif topic == INTEREST:
            self._filters[key] = value or b""
        elif key == CURRENT and self._takes_published and (message.offset() or 0) > self.in_use.offset:
            self._offered = message

    async def _step(self) -> None:
        if self._offered is not None:
            message, self._offered = self._offered, None
            await self._consider(message)
        if self._pending is not None and self._may_switch(self._pending):
            self._switch(self._pending)
        # A step that fails must not block the steps that other processors wait for.
        for step in (self._report_change, self._repair_filters, self._report, self._drop_old):
            try:
                await step()
            except Exception as error:  # noqa: BLE001  the processor continues to evaluate, but must report it
                self._report_error(error)

    async def _consider(self, message: Message) -> None:
        if message.value() is None:
            self._on_note(f"the published rules were deleted; version {self.in_use.version} stays active.")
            return
        try:
            fresh = await asyncio.to_thread(self._prepare, message)
            _reject_older(fresh, self._pending or self.in_use)
        except RulesRefused as error:
            await self._refuse(message, str(error))
            return
        except Exception as error:  # noqa: BLE001  if a version cannot be compiled, the active one stays
            await self._refuse(message, f"it cannot be compiled: {type(error).__name__}: {error}")
            return
        if self._pending is not None:
            self._pending.close()
        self._refused = ""
        self._pending, self._pending_since = fresh, time.monotonic()
        self._plans[fresh.version] = fresh.ruleset.plan
        self._all_since = None
        self._support_all()

    async def _refuse(self, message: Message, reason: str) -> None:
        self._refused = reason
        self._on_note(f"rules refused: {reason}. Version {self.in_use.version} stays active.", "error")
        await self._alert(rules_refused(self._connection.prefix, message, reason, self.in_use.version))

    def _may_switch(self, fresh: RulesInUse) -> bool:
        now = time.monotonic()
        hosts = self._detect.reports.lagging(fresh.version, now)
        others = not_ready(fresh.version, self._others())
        if not hosts and not others:
            return True
        if now - self._pending_since < self._wait_seconds:
            return False
        who = [*(f"host {name}" for name in hosts), *(f"processor {name}" for name in others)]
        more = f" and {len(who) - _MAX_NAMED} more" if len(who) > _MAX_NAMED else ""
        self._on_note(
            f"version {fresh.version} becomes active although not all are ready for it: "
            f"{', '.join(who[:_MAX_NAMED])}{more}. Until a host applies its filter, rules may miss events there.",
            "warning",
        )
        return True

    def _switch(self, fresh: RulesInUse) -> None:
        old, self.in_use, self._pending = self.in_use, fresh, None
        self._since = time.time_ns()
        self._detect.change_rules(fresh.ruleset, decode=fresh.decode)
        self._change = rules_changed(self._connection.prefix, fresh, old)
        self._on_note(self._change.output)
        old.close()

    async def _report_change(self) -> None:
        """Report the active version unless another processor did; both reports would have the same id."""
        version = self.in_use.version
        if not is_version(version) or (is_version(self._peers.reported) and self._peers.reported >= version):
            return
        alert = self._change or rules_changed(self._connection.prefix, self.in_use, None)
        self._change = None
        await self._alert(alert)
        await self._send(PROCESSORS, REPORTED, version.encode())
        self._peers.mark_reported(version)

    async def _repair_filters(self) -> None:
        """Publish the pushdown filters of this processor's versions if they are missing or were overwritten."""
        if not self._is_first():
            return
        expected = {
            each.version.encode(): each.interest for each in (self.in_use, self._pending) if each and each.published
        }
        for key, found in self._filters.items():
            if found != expected.get(key) and key not in self._unusable and (why := _why_unusable(found)):
                self._unusable.add(key)
                await self._alert(interest_unusable(self._connection.prefix, key, found, why))
        for key, interest in expected.items():
            if self._filters.get(key) != interest:
                self._filters[key] = interest
                self._unusable.discard(key)
                await self._send(INTEREST, key, interest)

    async def _report(self) -> None:
        now = time.monotonic()
        waiting = self._pending
        report = Report(
            worker=self._worker,
            active=self.in_use.version,
            ready=tuple(self._plans),
            since=self._since,
            rules=len(self.in_use.ruleset.rule_names),
            waiting="" if waiting is None else waiting.version,
            lagging=() if waiting is None else tuple(self._detect.reports.lagging(waiting.version, now)[:_MAX_NAMED]),
            refused=self._refused[: 2 * _MAX_CHARACTERS],
            hosts=dict(self._detect.reports.counts(now).most_common(_MAX_NAMED)),
        ).encoded()
        at, last = self._reported
        if now - at >= _REPORT_SECONDS or (report != last and now - at >= _STEP_SECONDS):
            self._reported = (now, report)
            await self._send(PROCESSORS, self._worker.encode(), report)

    async def _drop_old(self) -> None:
        version = self.in_use.version
        if self._pending is not None or not all_evaluate(version, self._others()):
            self._all_since = None
            if self._is_settled:
                self._support_all()
            return
        now = time.monotonic()
        if self._all_since is None:
            self._all_since = now
        keep = _KEEP_SECONDS if len(self._plans) > 1 else _SETTLE_SECONDS
        if not self._is_settled and now - self._all_since >= keep:
            self._is_settled = True
            self._plans = {version: self.in_use.ruleset.plan}
            self._correlate.change_rules(self.in_use.ruleset.plan, is_settled=True)
        if not self._is_first():
            return
        for key in [key for key in self._filters if is_version(version) and _is_past(key, version)]:
            del self._filters[key]
            await self._send(INTEREST, key, None)
        for key in self._peers.stale(time.time_ns() // 1_000_000):
            await self._send(PROCESSORS, key, None)

    def _support_all(self) -> None:
        """Make the correlate stage support all versions, and keep state of unknown ones: others may know them."""
        self._is_settled = False
        self._correlate.change_rules(merged(self._plans.values()), is_settled=False)

    def _others(self) -> list[Report]:
        live = self._peers.live(time.time_ns() // 1_000_000)
        return [report for report in live if report.worker != self._worker]

    def _is_first(self) -> bool:
        """Whether this processor does the work that only one processor has to do."""
        return all(self._worker < report.worker for report in self._others())

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
            done = await self._shipping.send(topic, key, value, list(_JSON))
            done.add_done_callback(self._sent)

    def _sent(self, done: "asyncio.Future[Any]") -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            self._report_error(error)

    def _report_error(self, error: BaseException) -> None:
        text = f"{type(error).__name__}: {error}"
        if text != self._last_error:
            self._last_error = text
            self._on_note(f"following the published rules failed: {text}.", "warning")


def _reject_older(fresh: RulesInUse, known: RulesInUse) -> None:
    """Reject a version that is older than the known one: anybody who may write could replay it with its signature."""
    if fresh.published and known.published and fresh.published.published <= known.published.published:
        fresh.close()
        raise RulesRefused(f"version {fresh.version} is older than {known.version}; publish its files again to go back")


def _is_past(key: bytes, version: str) -> bool:
    name = key.decode("utf-8", "replace")
    return not is_version(name) or name < version


def _why_unusable(interest: bytes) -> str:
    try:
        decode_filter(interest)
    except BadFilter as error:
        return str(error)
    return ""
