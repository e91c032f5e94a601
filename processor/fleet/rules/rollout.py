"""Follows the topic of rules and switches a processor between two batches; nothing else of it stops meanwhile.

A new version is compiled beside the one in force. From then on correlation understands both, since other processors may
detect by either. Detection switches once every live host sends what the new version asks for and every other processor
is as far, or after a time-out, which is told. When all have switched, what only old versions asked for is let go of:
first from the interest of collectors, a minute later from memory.
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
from processor.fleet.rules.peers import TOLD, Peers, Report, all_judge_by, not_ready
from processor.fleet.rules.version import RulesInUse, RulesRefused
from schemas.alert import Alert
from schemas.encoding.filter_json import BadFilter, decode_filter
from schemas.published_rules import is_version

_STEP_SECONDS = 0.2
_REPORT_SECONDS = 5.0
_KEEP_SECONDS = 60.0
"""How long after the last switch correlation understands old versions: what they detected may still be on its way."""
_SETTLE_SECONDS = 2 * _REPORT_SECONDS
"""The same where no other version is known: in that time every other processor has said which it judges by."""
_MAX_NAMED = 20
_MAX_TOLD = 500
_JSON: Headers = [("content-type", b"application/json")]

Prepare = Callable[[Message], RulesInUse]
"""Compiles a version; called on a thread of its own; raises RulesRefused."""


class RulesRollout:
    """The rules of one processor."""

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
        on_note: Callable[[str], None],
    ) -> None:
        """Take what is in force; nothing is started.

        Args:
            connection: the broker.
            in_use: what the stages judge by.
            stages: that are switched.
            prepare: compiles a version.
            former: by version, what others may judge by still, or did a moment ago.
            worker: names this processor among the others.
            wait_seconds: for hosts and other processors.
            takes_published: whether a version in the topic counts.
            on_note: told of what an operator should know.
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
        self._interests: dict[bytes, bytes] = {}
        self._unusable: set[bytes] = set()
        self._offered: Message | None = None
        self._pending: RulesInUse | None = None
        self._pending_since = 0.0
        self._since = time.time_ns()
        self._plans: dict[str, Plan] = {**former, in_use.version: in_use.judges.plan}
        self._all_since: float | None = None
        self._is_settled = False
        """Whether what old versions left behind is gone."""
        self._refused = ""
        self._change: Alert | None = None
        self._reported: tuple[float, bytes] = (0.0, b"")
        self._messages: asyncio.Queue[tuple[str, Message] | None] = asyncio.Queue()
        self._has_read_all = False
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._shipping: ResultProducer | None = None
        self._trouble = ""
        self._remember_all()

    def start(self, shipping: ResultProducer) -> None:
        """Begin; on the running loop."""
        self._shipping = shipping
        loop = asyncio.get_running_loop()
        follower = CompactedTopicReader(self._connection, [RULES, INTEREST, PROCESSORS])
        self._thread = threading.Thread(target=self._follow, args=(follower, loop), name="rules", daemon=True)
        self._thread.start()
        self._task = asyncio.create_task(self._run())

    async def finish(self) -> None:
        """End, and tell the others that this processor is gone."""
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
            # The loop is closed: this process ends.
            return
        finally:
            follower.close()

    async def _run(self) -> None:
        while True:
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001  a processor without this goes on judging, but must say so
                self._tell_trouble(error)

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
            self._interests.pop(key, None)
        elif topic == INTEREST:
            self._interests[key] = value or b""
        elif key == CURRENT and self._takes_published and (message.offset() or 0) > self.in_use.offset:
            self._offered = message

    async def _step(self) -> None:
        if self._offered is not None:
            message, self._offered = self._offered, None
            await self._consider(message)
        if self._pending is not None and self._may_switch(self._pending):
            self._switch(self._pending)
        # One that fails must not keep this processor from what the others wait for.
        for step in (self._tell_change, self._mend_interest, self._report, self._let_go):
            try:
                await step()
            except Exception as error:  # noqa: BLE001  a processor without this goes on judging, but must say so
                self._tell_trouble(error)

    async def _consider(self, message: Message) -> None:
        if message.value() is None:
            self._on_note(f"the published rules were deleted; version {self.in_use.version} stays in force.")
            return
        try:
            fresh = await asyncio.to_thread(self._prepare, message)
            _refuse_older(fresh, self._pending or self.in_use)
        except RulesRefused as error:
            await self._refuse(message, str(error))
            return
        except Exception as error:  # noqa: BLE001  whatever a version makes compiling do, the one in force stays
            await self._refuse(message, f"it can't be compiled: {type(error).__name__}: {error}")
            return
        if self._pending is not None:
            self._pending.close()
        self._refused = ""
        self._pending, self._pending_since = fresh, time.monotonic()
        self._plans[fresh.version] = fresh.judges.plan
        self._all_since = None
        self._remember_all()

    async def _refuse(self, message: Message, reason: str) -> None:
        self._refused = reason
        self._on_note(f"error: rules refused: {reason}. Version {self.in_use.version} stays in force.")
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
            f"warning: version {fresh.version} comes into force although not all are ready for it: "
            f"{', '.join(who[:_MAX_NAMED])}{more}. Until a host sends what it asks for, rules may miss events there."
        )
        return True

    def _switch(self, fresh: RulesInUse) -> None:
        old, self.in_use, self._pending = self.in_use, fresh, None
        self._since = time.time_ns()
        self._detect.change_rules(fresh.judges, decode=fresh.decode)
        self._change = rules_changed(self._connection.prefix, fresh, old)
        self._on_note(self._change.output)
        old.close()

    async def _tell_change(self) -> None:
        """Tell of the version in force, unless somebody has; told twice, it has one id."""
        version = self.in_use.version
        if not is_version(version) or (is_version(self._peers.told) and self._peers.told >= version):
            return
        alert = self._change or rules_changed(self._connection.prefix, self.in_use, None)
        self._change = None
        await self._alert(alert)
        await self._send(PROCESSORS, TOLD, version.encode())
        self._peers.told = version

    async def _mend_interest(self) -> None:
        """See to it that collectors know what the versions of this processor ask for, whoever wrote what there."""
        if not self._is_first():
            return
        wanted = {
            each.version.encode(): each.interest for each in (self.in_use, self._pending) if each and each.published
        }
        for key, found in self._interests.items():
            if found != wanted.get(key) and key not in self._unusable and (why := _why_unusable(found)):
                self._unusable.add(key)
                await self._alert(interest_unusable(self._connection.prefix, key, found, why))
        for key, interest in wanted.items():
            if self._interests.get(key) != interest:
                self._interests[key] = interest
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
            rules=len(self.in_use.judges.rule_names),
            waiting="" if waiting is None else waiting.version,
            lagging=() if waiting is None else tuple(self._detect.reports.lagging(waiting.version, now)[:_MAX_NAMED]),
            refused=self._refused[: 2 * _MAX_TOLD],
            hosts=dict(self._detect.reports.counts(now).most_common(_MAX_NAMED)),
        ).encoded()
        at, last = self._reported
        if now - at >= _REPORT_SECONDS or (report != last and now - at >= _STEP_SECONDS):
            self._reported = (now, report)
            await self._send(PROCESSORS, self._worker.encode(), report)

    async def _let_go(self) -> None:
        version = self.in_use.version
        if self._pending is not None or not all_judge_by(version, self._others()):
            self._all_since = None
            if self._is_settled:
                self._remember_all()
            return
        now = time.monotonic()
        if self._all_since is None:
            self._all_since = now
        keep = _KEEP_SECONDS if len(self._plans) > 1 else _SETTLE_SECONDS
        if not self._is_settled and now - self._all_since >= keep:
            self._is_settled = True
            self._plans = {version: self.in_use.judges.plan}
            self._correlate.change_rules(self.in_use.judges.plan, is_settled=True)
        if not self._is_first():
            return
        for key in [key for key in self._interests if is_version(version) and _is_past(key, version)]:
            del self._interests[key]
            await self._send(INTEREST, key, None)
        for key in self._peers.stale(time.time_ns() // 1_000_000):
            await self._send(PROCESSORS, key, None)

    def _remember_all(self) -> None:
        """Have correlation understand all versions, and keep what it does not understand: others may."""
        self._is_settled = False
        self._correlate.change_rules(merged(self._plans.values()), is_settled=False)

    def _others(self) -> list[Report]:
        live = self._peers.live(time.time_ns() // 1_000_000)
        return [report for report in live if report.worker != self._worker]

    def _is_first(self) -> bool:
        """Whether this processor is the one that does what one is to do."""
        return all(self._worker < report.worker for report in self._others())

    async def _alert(self, alert: Alert) -> None:
        if self._shipping is None:
            return
        try:
            await (await self._shipping.alert(alert))
        except MessageRefused as error:
            # Sent again it would be refused again; what is done after it counts.
            self._on_note(f"alert {alert.rule!r} was refused: {error}. It says: {alert.output[:_MAX_TOLD]}")

    async def _send(self, topic: str, key: bytes, value: bytes | None) -> None:
        if self._shipping is not None:
            done = await self._shipping.send(topic, key, value, list(_JSON))
            done.add_done_callback(self._sent)

    def _sent(self, done: "asyncio.Future[Any]") -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            self._tell_trouble(error)

    def _tell_trouble(self, error: BaseException) -> None:
        told = f"{type(error).__name__}: {error}"
        if told != self._trouble:
            self._trouble = told
            self._on_note(f"warning: following the published rules fails: {told}.")


def _refuse_older(fresh: RulesInUse, known: RulesInUse) -> None:
    """Whoever may write to the topic could put an old version there again, with its signature."""
    if fresh.published and known.published and fresh.published.published <= known.published.published:
        fresh.close()
        raise RulesRefused(f"version {fresh.version} is older than {known.version}; publish its files anew to go back")


def _is_past(key: bytes, version: str) -> bool:
    name = key.decode("utf-8", "replace")
    return not is_version(name) or name < version


def _why_unusable(interest: bytes) -> str:
    try:
        decode_filter(interest)
    except BadFilter as error:
        return str(error)
    return ""
