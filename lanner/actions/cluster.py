"""Decides about intents for pods and nodes of a cluster, in the one elected process of it.

Pure but for the API and the topic of results: times are arguments. What was done is known from the topic of results,
and what still lasts from the objects of the cluster, so that a successor continues where this process ends.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from confluent_kafka import Message
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bus.actions import PeopleKeys, SignedRecord, action_message, signature_of, topic_of, verified
from bus.clients.compacted import CompactedTopicReader, CompactedTopicWriter, follow
from bus.connection import BusUnavailable, Connection
from bus.messages import append_time
from bus.topics import ACTION_DECISIONS, ACTION_INTENTS, ACTION_RESULTS
from collector.actions.effect import ActionRefused, TargetGone
from collector.actions.executor import why_late
from collector.kubernetes.acting import ClusterActions, Held
from collector.kubernetes.api import RequestFailed
from foundation.caches import BoundedMap
from foundation.text import OnNote, is_like
from foundation.throttling import RateLimit
from lanner.actions.book import ActionBook, TrackedAction
from schemas.action import (
    ActionDecision,
    ActionIntent,
    ActionResult,
    BadActionRecord,
    ClusterActionType,
    Outcome,
    decode_action_record,
    is_agreed,
    why_protected,
)
from schemas.limits import clipped

_TURN_SECONDS = 0.3
_LOOK_NS = 5_000_000_000
"""How often the objects of the cluster are searched for actions that end."""
_AT_ONCE = 30
"""Actions at once, and a minute, in a cluster."""
_MAX_KNOWN = 10_000
_MAX_TEXT_BYTES = 1000
_NOT_FOUND = 404
_KINDS = {ACTION_INTENTS: ActionIntent, ACTION_DECISIONS: ActionDecision, ACTION_RESULTS: ActionResult}


@dataclass(frozen=True, slots=True)
class ClusterRights:
    """What may be done in this cluster."""

    cluster: str
    """Its name; empty if none is configured."""
    enabled: frozenset[ClusterActionType]
    never_nodes: tuple[str, ...]
    max_lease: int

    def why_refused(self, intent: ActionIntent) -> str:
        """Return why an intent isn't done here, whatever its time and approvals; empty if there is no reason."""
        if intent.type not in self.enabled:
            return f"kubernetes.actions.enabled of this cluster doesn't name {intent.type}"
        if pattern := next((each for each in self.never_nodes if intent.node and is_like(intent.node, each)), ""):
            return f"kubernetes.actions.never_nodes of this cluster names {pattern}"
        return why_protected(intent, "")


class ClusterExecutor:
    """Takes records, does what they request, and ends what has a lease.

    Args:
        actions: does and undoes them.
        rights: what may be done here.
        term: identifies this process while it is elected.
        write: stores a result. May raise BusUnavailable.
    """

    def __init__(
        self,
        actions: ClusterActions,
        rights: ClusterRights,
        *,
        term: str,
        write: Callable[[ActionResult], Awaitable[None]],
        note: OnNote,
    ) -> None:
        self._actions, self._rights, self._write, self._note = actions, rights, write, note
        self._term = f"by {term}"
        self._book = ActionBook()
        self._open: dict[str, None] = {}
        """Ids of intents that have news."""
        self._echoes: BoundedMap[str, int] = BoundedMap(_MAX_KNOWN)
        """When the broker stored this term's result `received`: the present time by the broker's clock."""
        self._announced: BoundedMap[str, bool] = BoundedMap(_MAX_KNOWN)
        self._extended: BoundedMap[str, int] = BoundedMap(_MAX_KNOWN)
        """When an action that somebody extended ends, by the broker's clock."""
        self._rate: RateLimit[None] = RateLimit(_AT_ONCE / 60, _AT_ONCE)
        self._undoing: dict[str, None] = {}
        """Ids of what somebody wants to be undone."""
        self._look_at = 0
        self._failure = ""

    def take(self, record: SignedRecord, stored: int) -> None:
        """Take a record that somebody with the right to it signed. stored: broker's clock, ns since the epoch."""
        self._book.take(record, stored)
        if isinstance(record, ActionIntent):
            self._open[record.id] = None
        elif isinstance(record, ActionResult):
            if record.outcome == "received" and record.text == self._term:
                self._echoes.put(record.intent, stored)
                self._open[record.intent] = None
        else:
            self._open[record.subject] = None
            if record.type == "extend":
                ends = stored + min(record.lease, self._rights.max_lease)
                self._extended.put(record.subject, max(ends, self._extended.get(record.subject) or 0))
            if record.type == "undo":
                self._undoing[record.subject] = None
            if record.type in ("extend", "undo"):
                self._look_at = 0

    async def turn(self, now: int) -> None:
        """Do what is due. now: wall clock, ns since the epoch. Raises BusUnavailable."""
        while self._open:
            # Before: what comes while it waits for an answer is news as well.
            id_ = next(iter(self._open))
            del self._open[id_]
            action = self._book.find(id_)
            if action is not None and self._is_ours(action.intent):
                try:
                    await self._consider(action, now)
                except BusUnavailable:
                    self._open[id_] = None
                    raise
        if now >= self._look_at:
            self._look_at = now + _LOOK_NS
            looks = [await self._look(type_, now) for type_ in sorted(self._rights.enabled - {"evict"})]
            if all(looks):
                await self._close_undone(now)

    async def _close_undone(self, now: int) -> None:
        """Report what somebody wants to be undone, and of which nothing was found in the cluster."""
        for id_ in list(self._undoing):
            action = self._book.find(id_)
            is_left = action is not None and action.last is not None and action.last.outcome in ("done", "extended")
            if action is not None and is_left and self._is_ours(action.intent):
                by = next(each.by for each in action.decisions if each.type == "undo")
                if action.intent.type in self._rights.enabled - {"evict"}:
                    await self._report(action.intent, "undone", "nothing of it was left", now, by=by)
            del self._undoing[id_]

    def _is_ours(self, intent: ActionIntent) -> bool:
        acts = intent.state != "would" and not intent.refusal
        return acts and intent.is_for_cluster and intent.cluster == self._rights.cluster

    async def _consider(self, action: TrackedAction, now: int) -> None:
        """Begin an action that nothing is known about, refuse it, or let it wait for approvals."""
        intent = action.intent
        if action.last is not None and action.last.outcome != "received":
            return None
        against = next((each for each in action.decisions if each.type in ("reject", "undo")), None)
        if against is not None:
            verb = "rejected" if against.type == "reject" else "undone before it began"
            return await self._report(intent, "refused", f"{verb} by {against.by}", now, by=against.by)
        if not is_agreed(intent, action.approvers):
            return None
        at = self._echoes.get(intent.id)
        if at is None:
            if not self._announced.get(intent.id):
                self._announced.put(intent.id, True)
                await self._report(intent, "received", self._term, now)
            return None
        reason = why_late(action.stored, intent.wait, at) or self._rights.why_refused(intent)
        if not reason and (stop := self._book.stop) is not None:
            reason = f"{stop.by} stopped all actions"
        if not reason and not self._rate.take(None, now / 1e9):
            reason = f"this cluster did {_AT_ONCE} actions within a minute"
        if reason:
            return await self._report(intent, "refused", reason, now)
        return await self._do(intent, now)

    async def _do(self, intent: ActionIntent, now: int) -> None:
        ends = now + min(intent.lease, self._rights.max_lease) if intent.lease else 0
        try:
            text = await self._actions.do(intent, ends)
        except ActionRefused as error:
            await self._report(intent, "refused", str(error), now)
        except TargetGone as error:
            await self._report(intent, "gone", str(error), now)
        except RequestFailed as error:
            await self._report(intent, "failed", f"the API server: {error}", now)
        else:
            await self._report(intent, "done", text, now, ends=ends)

    async def _look(self, type_: ClusterActionType, now: int) -> bool:
        """End what is overdue or undone, and extend what somebody extended; return whether that succeeded."""
        try:
            for held in await self._actions.held(type_):
                await self._end(held, now)
        except RequestFailed as error:
            if str(error) != self._failure:
                self._note(f"actions of type {type_} can't be ended now, which is tried again: {error}.", "warning")
            self._failure = str(error)
            return False
        self._failure = ""
        return True

    async def _end(self, held: Held, now: int) -> None:
        action = self._book.find(held.id)
        undo = None if action is None else next((each for each in action.decisions if each.type == "undo"), None)
        ends = self._extended.get(held.id) or 0
        if undo is None and max(ends, held.ends) > now:
            if ends > held.ends and action is not None:
                await self._actions.extend(held, ends)
                await self._report(action.intent, "extended", "by a person", now, ends=ends)
            return
        try:
            text = await self._actions.undo(held)
        except RequestFailed as error:
            if error.failure.code != _NOT_FOUND:
                raise
            text = "it is gone"
        if action is not None and self._is_ours(action.intent):
            outcome: Outcome = "undone" if undo is not None else "ended"
            await self._report(action.intent, outcome, text, now, by="" if undo is None else undo.by)
        else:
            self._note(f"{held.type} {held.path}: {text}; nothing is known about its intent.", "warning")

    async def _report(
        self, intent: ActionIntent, outcome: Outcome, text: str, now: int, *, ends: int = 0, by: str = ""
    ) -> None:
        name = f"Kubernetes {self._rights.cluster}".strip()
        text = clipped(text.replace("\0", " "), _MAX_TEXT_BYTES)
        result = ActionResult(intent.id, intent.host_id, name, outcome, text, now, ends=ends, by=by)
        await self._write(result)
        # Its copy in the topic comes later, and must not be waited for.
        self._book.take(result, now)
        if outcome != "received":
            self._note(f"{intent.summary}: {outcome}: {text}.", "info")


@dataclass(frozen=True, slots=True)
class ClusterKeys:
    """Whose records count, and the key that signs results."""

    own: Ed25519PrivateKey
    processors: Sequence[Ed25519PublicKey]
    people: PeopleKeys

    def verified(self, topic: str, value: bytes, signature: bytes) -> SignedRecord:
        """Return a record of a topic. Raises BadActionRecord if nobody with the right to it signed it."""
        # A processor requests what a policy states, and a person what none does.
        by_hand = topic == ACTION_INTENTS and not decode_action_record(value, ActionIntent).policy
        accepted: Mapping[str, Sequence[Ed25519PublicKey]] = {
            ACTION_INTENTS: self.people.every if by_hand else self.processors,
            ACTION_DECISIONS: self.people.every,
            # Replicas of this process have the same key; results of hosts don't matter here.
            ACTION_RESULTS: (self.own.public_key(),),
        }
        return self.people.named(verified(value, signature, _KINDS[topic], accepted[topic]))


class ClusterActionService:
    """Follows the topics while this process is elected."""

    def __init__(
        self,
        connection: Connection,
        keys: ClusterKeys,
        executor: Callable[[Callable[[ActionResult], Awaitable[None]]], ClusterExecutor],
        note: OnNote,
    ) -> None:
        """Prepare; nothing is connected. executor: makes one for a term, from what stores its results."""
        self._connection, self._keys, self._executor, self._note = connection, keys, executor, note

    async def run(self, may_act: Callable[[], bool]) -> None:
        """Act until canceled. may_act: returns whether this process is still the elected one."""
        stopped, is_read = threading.Event(), asyncio.Event()
        pass_on = asyncio.get_running_loop().call_soon_threadsafe
        writer = await asyncio.to_thread(CompactedTopicWriter, self._connection)
        executor = self._executor(partial(self._store, writer))

        def found(topic: str, message: Message) -> None:
            try:
                record = self._keys.verified(topic, message.value() or b"", signature_of(message))
            except BadActionRecord:
                return
            pass_on(executor.take, record, append_time(message.timestamp()[1]))

        follow(
            CompactedTopicReader(self._connection, tuple(_KINDS)),
            stopped,
            found,
            at_end=partial(pass_on, is_read.set),
            on_error=lambda reason: self._note(f"the topics of actions cannot be read ({reason}).", "warning"),
        )
        try:
            await is_read.wait()
            while True:
                if may_act():
                    await self._turn(executor)
                await asyncio.sleep(_TURN_SECONDS)
        finally:
            stopped.set()

    async def _turn(self, executor: ClusterExecutor) -> None:
        try:
            await executor.turn(time.time_ns())
        except BusUnavailable as error:
            self._note(f"results of actions are not written, which is tried again: {error.reason}.", "warning")

    async def _store(self, writer: CompactedTopicWriter, result: ActionResult) -> None:
        await asyncio.to_thread(writer.put, topic_of(result), *action_message(result, self._keys.own))
