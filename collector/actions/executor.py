"""Decides about intents, does them, and undoes them: whatever it does is in the journal before.

Pure but for the journal and the actions themselves: times are arguments. A record that isn't for this host, or that
nobody with the right to it signed, has no effect at all, so that a forged one can't take the place of a genuine one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from collector.actions.effect import ActionRefused, Effect, GuardedAction, HostAction, TargetGone, UndoFacts
from collector.actions.journal import RETENTION, Journal, JournaledAction
from collector.actions.keeper import LeaseKeepers
from collector.actions.socket import BadPacket, RecordPacket, TakenPacket
from foundation.quantities import duration_text, seconds_text
from foundation.text import OnNote, ignore_note, is_like
from foundation.throttling import RateLimit
from schemas.action import (
    ACTION_KINDS,
    ActionDecision,
    ActionIntent,
    ActionResult,
    ActionType,
    BadActionRecord,
    Outcome,
    decode_action_record,
    is_agreed,
    why_protected,
)
from schemas.limits import clipped

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from bus.actions import PeopleKeys

SECOND = 1_000_000_000
AT_ONCE = 60
"""Actions that one host does at once, and a minute."""
_RETRY = 10 * SECOND
_MAX_TEXT_BYTES = 1000
_MAX_WAIT = 86_400 * SECOND
_CLOCK_SLACK = 300 * SECOND
"""How far in the future a record may have been stored: brokers have different clocks."""
_SHORT_ID = 12
_KEEPER = "keeper"
"""Names the process that undoes an action when its lease ends, among the facts that undo it."""
_Record = TypeVar("_Record", ActionIntent, ActionDecision)


@dataclass(frozen=True, slots=True)
class ActionTimes:
    """The present time by the clocks of this host, ns."""

    boot: int
    wall: int


@dataclass(frozen=True, slots=True)
class ActionRights:
    """What may be done on this host, and who may request and decide it."""

    host_id: str
    hostname: str
    enabled: frozenset[ActionType]
    processor_keys: "tuple[Ed25519PublicKey, ...]" = ()
    people: "PeopleKeys | None" = None
    never_users: tuple[str, ...] = ()
    never_containers: tuple[str, ...] = ()
    max_lease: int = _MAX_WAIT
    host_approvals: int = 0
    """How many persons have to agree to what is done to the whole host, whatever the intent states."""

    @property
    def is_signed(self) -> bool:
        """True if records count only with a signature."""
        return bool(self.processor_keys or self.people is not None)

    def why_refused(self, intent: ActionIntent) -> str:
        """Return why an intent isn't done here, whatever its time and approvals; empty if there is no reason."""
        if intent.type not in self.enabled:
            return f"collector.actions.enabled on this host doesn't name {intent.type}"
        if intent.target == "user" and (pattern := _like(self.never_users, intent.user)):
            return f"collector.actions.never_users on this host names {pattern}"
        return why_protected(intent, intent.path)

    def why_spared(self, intent: ActionIntent, name: str) -> str:
        """Return why a container is never acted on here; empty if there is no reason. name: empty if unknown."""
        if not self.never_containers:
            return ""
        if not name:
            return "its name isn't known here, and collector.actions.never_containers on this host names some"
        pattern = _like(self.never_containers, name, intent.container_id, intent.container_id[:_SHORT_ID])
        return f"collector.actions.never_containers on this host names {pattern}" if pattern else ""


def _like(patterns: Sequence[str], *texts: str) -> str:
    return next((each for each in patterns if any(text and is_like(text, each) for text in texts)), "")


def why_late(stored: int, wait: int, now: int) -> str:
    """Return why a record is too old, or not believable, by the broker's clock; empty if it is fresh."""
    if stored > now + _CLOCK_SLACK:
        return "it was stored in the future, by the broker's clock"
    if now > stored + min(wait, _MAX_WAIT):
        return f"it is late: it was stored {seconds_text((now - stored) / SECOND)} ago"
    return ""


class Executor:
    """Takes packets, does what they request, and ends what has a lease.

    Args:
        rights: what may be done here.
        actions: how each type of action is done.
        journal: what was done.
        boot: id of the present boot.
        own_containers: returns the ids of the containers in which Lanner runs on this host.
        name_of: returns the name of a container by its full id, as its runtime states it; empty if it is unknown.
        keepers: start what ends an action if this process is gone; None without.
        note: receives what people should know.
    """

    def __init__(
        self,
        rights: ActionRights,
        actions: Mapping[ActionType, HostAction],
        journal: Journal,
        *,
        boot: str,
        own_containers: Callable[[], frozenset[str]] = frozenset,
        name_of: Callable[[str], str] = lambda _: "",
        keepers: LeaseKeepers | None = None,
        note: OnNote = ignore_note,
    ) -> None:
        self.rights = rights
        self.outcomes: dict[Outcome, int] = {}
        """How many results of each kind there were."""
        self._actions, self._journal, self._boot = actions, journal, boot
        self._own_containers, self._name_of = own_containers, name_of
        self._keepers, self._note = keepers, note
        self._rate: RateLimit[None] = RateLimit(AT_ONCE / 60, AT_ONCE)
        self._retry_at: dict[str, int] = {}

    def start(self, times: ActionTimes) -> None:
        """Take over what the last process left: report what it began, and end what is overdue. Raises OSError."""
        for action in self._journal.with_status("begun"):
            has_undo = bool(ACTION_KINDS[action.intent.type].undo)
            text = "the process that acts ended before it could record whether it was done, so that is unknown"
            text += "; it will be undone as if it was" if action.intent.lease else "; it is not begun again"
            result = self._result(action.intent, "failed", text, times, ends=action.ends_wall)
            self._journal.put(replace(action, status="active" if has_undo else "over"), result)
            self._note(f"{action.intent.summary}: {text}.", "warning")
        for action in self._journal.with_status("active"):
            if action.ends and action.boot != self._boot:
                # The boot clock began again; no clock can make it last longer than it was to last.
                left = min(max(0, action.ends_wall - times.wall), action.intent.lease)
                self._journal.put(replace(action, boot=self._boot, ends=times.boot + left))
        self.turn(times)

    def turn(self, times: ActionTimes) -> int:
        """End what is due; return in how many nanoseconds the next one is. Raises OSError if the journal fails."""
        soonest = _RETRY
        if self._keepers is not None:
            self._keepers.reap()
        for action in self._journal.with_status("active"):
            if not action.ends:
                continue
            due = max(action.ends, self._retry_at.get(action.intent.id, 0))
            if due <= times.boot:
                self._undo(action, "ended", times)
            else:
                soonest = min(soonest, due - times.boot)
        return soonest

    def take(self, packet: RecordPacket | TakenPacket, times: ActionTimes) -> None:
        """Take a packet.

        Raises:
            BadPacket: it has no effect; the message is the reason, for people.
            OSError: the journal can't be written.
        """
        if isinstance(packet, TakenPacket):
            self._journal.taken(packet.numbers)
            return
        try:
            if packet.kind == "intent":
                intent = self._checked(packet, ActionIntent)
                self._take_intent(intent, packet, times)
            else:
                decision = self._checked(packet, ActionDecision)
                self._take_decision(decision, packet, times)
        except BadActionRecord as error:
            raise BadPacket(f"{packet.kind}: {error}") from None

    def _checked(self, packet: RecordPacket, kind: type[_Record]) -> _Record:
        record = decode_action_record(packet.value, kind)
        if self.rights.is_signed:
            # Without keys, as on a single host, the libraries of the bus need not be installed.
            from bus.actions import PeopleKeys, verified  # noqa: PLC0415

            known: PeopleKeys = self.rights.people or PeopleKeys()
            # A processor requests what a policy states, and a person what none does.
            is_of_policy = isinstance(record, ActionIntent) and record.policy
            keys = self.rights.processor_keys if is_of_policy else known.every
            return known.named(verified(packet.value, packet.signature, kind, keys))
        if packet.signature:
            raise BadActionRecord("it is signed, but collector.actions names no key files on this host")
        return record

    def _take_intent(self, intent: ActionIntent, packet: RecordPacket, times: ActionTimes) -> None:
        if intent.host_id != self.rights.host_id:
            raise BadPacket(f"intent {intent.id}: it is for the host {intent.host_id}, not for this one")
        if intent.is_for_cluster:
            raise BadPacket(f"intent {intent.id}: `lanner kubernetes` does it, and no host")
        if intent.refusal or intent.state == "would":
            raise BadPacket(f"intent {intent.id}: nothing is to be done")
        action = self._journal.find(intent.id)
        if action is None:
            if packet.now and packet.stored < packet.now - RETENTION:
                raise BadPacket(f"intent {intent.id}: it is older than what this host remembers")
            if not self._journal.has_room((packet.now or packet.stored) - _MAX_WAIT - _CLOCK_SLACK):
                raise BadPacket(f"intent {intent.id}: this host has too many actions that aren't over")
            action = JournaledAction(intent, packet.stored)
            self._journal.put(action, self._result(intent, "received", "", times))
        elif action.intent != intent:
            raise BadPacket(f"intent {intent.id}: this host knows another one with this id")
        if action.status == "waiting" and packet.now:
            self._consider(action, packet.now, times)

    def _consider(self, action: JournaledAction, now: int, times: ActionTimes) -> None:
        """Do an action, refuse it, or let it wait for approvals. now: by the broker's clock."""
        intent, decisions = action.intent, self._journal.decisions(action.intent.id)
        against = next((each for each, _ in decisions if each.type in ("reject", "undo")), None)
        if against is not None:
            verb = "rejected" if against.type == "reject" else "undone before it began"
            self._close(action, "refused", f"{verb} by {against.by}", times, by=against.by)
            return
        reason = why_late(action.stored, intent.wait, now) or self.rights.why_refused(intent)
        if not reason and (stop := self._journal.stop()) is not None:
            reason = f"{stop.by} stopped all actions"
        if not reason and intent.type not in self._actions:
            reason = f"this release can't {intent.type} on this host"
        if not reason and intent.target == "container" and intent.container_id in self._own_containers():
            reason = "Lanner runs in it"
        if not reason and (other := self._same(intent)) is not None:
            reason = f"it is {ACTION_KINDS[intent.type].done} already, by {other.intent.id}: extend that"
        if not reason and intent.target == "container" and self.rights.never_containers:
            # Whatever the intent calls it.
            reason = self.rights.why_spared(intent, self._name_of(intent.container_id))
        approvers = {
            each.person
            for each, stored in decisions
            if each.type == "approve" and stored <= action.stored + intent.wait
        }
        least = self.rights.host_approvals if intent.target == "host" and intent.type != "collect" else 0
        if not reason and not is_agreed(intent, approvers, least):
            return
        if not reason and not self._rate.take(None, times.boot / SECOND):
            reason = f"this host did {AT_ONCE} actions within a minute"
        if reason:
            self._close(action, "refused", reason, times)
        else:
            self._do(action, times)

    def _same(self, intent: ActionIntent) -> JournaledAction | None:
        """Return the action by which the same was done to the same target, and which isn't over."""
        kind = ACTION_KINDS[intent.type]
        if not kind.undo:
            return None
        what = _target_key(intent)
        return next((each for each in self._journal.with_status("active") if _target_key(each.intent) == what), None)

    def _do(self, action: JournaledAction, times: ActionTimes) -> None:
        kind = ACTION_KINDS[action.intent.type]
        lease = min(action.intent.lease, self.rights.max_lease)
        intent = replace(action.intent, lease=lease)
        if lease:
            action = replace(action, boot=self._boot, ends=times.boot + lease, ends_wall=times.wall + lease)
        action = replace(action, status="begun")
        self._journal.put(action)
        done = replace(action, status="active" if kind.undo else "over")
        try:
            effect, done = self._effect(self._actions[intent.type], intent, done)
        except ActionRefused as error:
            self._close(action, "refused", str(error), times)
        except TargetGone as error:
            self._close(action, "gone", str(error), times)
        except OSError as error:
            self._close(action, "failed", error.strerror or str(error), times)
        except Exception as error:  # noqa: BLE001  a bug: what was done is unknown, and others have to be undone
            text = f"bug in Lanner: {type(error).__name__}: {error}: whether it was done is unknown"
            self._journal.put(done, self._result(intent, "failed", text, times, ends=action.ends_wall))
            self._note(f"{intent.summary}: {text}.", "error")
        else:
            text = effect.text if lease == action.intent.lease else f"{effect.text}, for {duration_text(lease)} at most"
            result = self._result(intent, "done", text, times, ends=action.ends_wall)
            self._journal.put(done, result)
            self._note(f"{intent.summary}: {text}.", "info")

    def _effect(
        self, implemented: HostAction, intent: ActionIntent, done: JournaledAction
    ) -> tuple[Effect, JournaledAction]:
        """Act; return what was done and the action with what undoes it."""
        facts: UndoFacts = {}
        if isinstance(implemented, GuardedAction):
            facts = self._guarded(implemented.before(intent), done.ends)
            self._journal.put(replace(done, status="begun", facts=facts))
        try:
            effect = implemented.do(intent)
        except (ActionRefused, TargetGone, OSError):
            self._end_keeper(facts)
            raise
        return effect, replace(done, facts={**effect.undo, **facts} if facts else self._guarded(effect.undo, done.ends))

    def _guarded(self, facts: UndoFacts, ends: int) -> UndoFacts:
        """Start what undoes an action when its lease ends; return the facts with what identifies it."""
        found = self._keepers.start(facts, ends) if self._keepers is not None and ends else ""
        return {**facts, _KEEPER: found} if found else facts

    def _end_keeper(self, facts: UndoFacts) -> None:
        if self._keepers is not None and (found := facts.get(_KEEPER)):
            self._keepers.end(str(found))

    def _take_decision(self, decision: ActionDecision, packet: RecordPacket, times: ActionTimes) -> None:
        if packet.stored > (packet.now or packet.stored) + _CLOCK_SLACK:
            raise BadPacket(f"decision {decision.id}: it was stored in the future, by the broker's clock")
        if decision.type in ("stop", "resume"):
            before = self._journal.stop()
            if self._journal.take_switch(decision, packet.stored) and (decision.type == "stop") != (before is not None):
                verb = "stopped" if decision.type == "stop" else "resumed"
                self._note(f"{decision.by} {verb} all actions.", "warning")
            return
        if decision.type == "reset":
            return
        action = self._journal.find(decision.subject)
        if decision.type == "extend":
            if action is not None and action.status == "active":
                self._extend(action, decision, packet, times)
            return
        self._journal.take_decision(decision, packet.stored)
        if action is None:
            return
        if action.status == "waiting":
            if packet.now or decision.type != "approve":
                self._consider(action, packet.now or action.stored, times)
        elif decision.type == "undo" and action.status == "active":
            self._undo(action, "undone", times, by=decision.by)
        elif decision.type == "undo" and not ACTION_KINDS[action.intent.type].undo:
            raise BadPacket(f"decision {decision.id}: nothing undoes a {action.intent.type}")

    def _extend(
        self, action: JournaledAction, decision: ActionDecision, packet: RecordPacket, times: ActionTimes
    ) -> None:
        intent = action.intent
        # It counts from when it was decided; a host that learns of it late must not act longer.
        lease = min(decision.lease, self.rights.max_lease) - max(0, packet.now - packet.stored)
        if (
            not action.ends
            or lease <= 0
            or any(each.id == decision.id for each, _ in self._journal.decisions(intent.id))
        ):
            return
        if (stop := self._journal.stop()) is not None:
            raise BadPacket(f"decision {decision.id}: {stop.by} stopped all actions")
        extended = replace(action, boot=self._boot, ends=times.boot + lease, ends_wall=times.wall + lease)
        facts = action.facts or {}
        try:
            renewed = self._guarded({name: each for name, each in facts.items() if name != _KEEPER}, extended.ends)
            # Ended first, so that it can't undo what is extended next.
            self._end_keeper(facts)
            extended = replace(extended, facts=renewed)
            self._journal.put(extended)
            self._actions[intent.type].extend(intent, renewed, lease)
        except (ActionRefused, TargetGone) as error:
            self._journal.report(self._result(intent, "failed", f"not extended: {error}", times))
        except OSError as error:
            text = f"not extended: {error.strerror or error}"
            self._journal.report(self._result(intent, "failed", text, times, ends=action.ends_wall))
        else:
            text = f"for {seconds_text(lease / SECOND)} from now on"
            result = self._result(intent, "extended", text, times, ends=extended.ends_wall, by=decision.by)
            self._journal.put(extended, result)
        self._journal.take_decision(decision, packet.stored)

    def _undo(self, action: JournaledAction, outcome: Outcome, times: ActionTimes, *, by: str = "") -> None:
        """Undo an action; if that fails, it is tried again until it succeeds."""
        intent = action.intent
        known = intent.id in self._retry_at
        try:
            text = self._actions[intent.type].undo(intent, action.facts or {})
        except TargetGone as error:
            text = str(error)
        except Exception as error:  # noqa: BLE001  also if facts are missing, since a process ended while it acted
            self._retry_at[intent.id] = times.boot + _RETRY
            reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
            if not known or by:
                self._journal.report(
                    self._result(intent, "failed", f"not undone, which is tried again: {reason}", times, by=by)
                )
                self._note(f"{intent.summary}: it can't be undone: {reason}.", "error")
            if by and not action.ends:
                # It has no lease, so that nothing else would try again.
                self._journal.put(replace(action, boot=self._boot, ends=times.boot, ends_wall=times.wall))
            return
        self._retry_at.pop(intent.id, None)
        facts = action.facts or {}
        # One that has become the command which undoes it must not be ended in the middle.
        if outcome == "undone" or "command" not in facts:
            self._end_keeper(facts)
        self._close(action, outcome, text, times, by=by)

    def _close(self, action: JournaledAction, outcome: Outcome, text: str, times: ActionTimes, *, by: str = "") -> None:
        self._journal.put(replace(action, status="over"), self._result(action.intent, outcome, text, times, by=by))
        self._note(f"{action.intent.summary}: {outcome}: {text}.", "info")

    def _result(
        self, intent: ActionIntent, outcome: Outcome, text: str, times: ActionTimes, *, ends: int = 0, by: str = ""
    ) -> ActionResult:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        text = clipped(text.replace("\0", " "), _MAX_TEXT_BYTES)
        return ActionResult(
            intent.id, self.rights.host_id, self.rights.hostname, outcome, text, times.wall, ends=ends, by=by
        )


def _target_key(intent: ActionIntent) -> tuple[str | int, ...]:
    return (intent.type, intent.target, intent.container_id, intent.path, intent.user, intent.uid)
