"""What a person may decide about actions, and what they request by hand.

Pure: time is an argument. Commands, the console and Slack ask here, so that each of them refuses the same for the same
reason. Hosts check all of it again.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from itertools import pairwise

from foundation.errors import LannerError
from foundation.quantities import date_and_time_seconds, duration_text
from foundation.text import printable
from lanner.actions.book import ActionBook, ActionStatus, TrackedAction
from schemas.action import (
    ACTION_KINDS,
    DEFAULT_LEASE,
    MAX_LEASE,
    ActionDecision,
    ActionIntent,
    ActionType,
    DecisionType,
    TargetType,
    why_protected,
)
from schemas.alert import alert_id

_SHORTEST = 8
"""Characters of an id that are shown, at least."""
_ACTIVE: tuple[ActionStatus, ...] = ("sent", "received", "done", "failed")
_SETTLED: dict[ActionStatus, str] = {
    "would": "its policy only states what it would do",
    "refused": "it was refused",
    "rejected": "it was rejected",
    "expired": "its time to be approved has passed",
    "sent": "it needs no approval any longer",
    "received": "it needs no approval any longer",
    "done": "it is done",
    "gone": "its target had ended",
    "failed": "it failed",
    "undone": "it was undone",
    "ended": "it has ended",
}


class DecisionRefused(LannerError):
    """The decision isn't possible; the message is the reason, for people. It may contain what an attacker wrote."""


def find_action(book: ActionBook, start: str) -> TrackedAction:
    """Return the action whose id begins so. Raises DecisionRefused if there is none, or more than one."""
    exact = book.find(start)
    if exact is not None:
        return exact
    found = [each for each in book.actions if each.intent.id.startswith(start)] if start else []
    if not found:
        raise DecisionRefused(f"no action has the id {printable(start)}")
    if len(found) > 1:
        ids = ", ".join(each.intent.id for each in found[:5]) + (" …" if len(found) > 5 else "")
        raise DecisionRefused(f"{len(found)} ids begin with {printable(start)}: {ids}")
    return found[0]


def short_ids(ids: Collection[str]) -> dict[str, str]:
    """Map ids to the shortest beginnings by which each is found."""
    ordered = sorted(ids)
    shared = [0, *(_shared(one, other) for one, other in pairwise(ordered)), 0]
    return {
        id_: id_[: max(_SHORTEST, before + 1, after + 1)]
        for id_, before, after in zip(ordered, shared, shared[1:], strict=False)
    }


def _shared(one: str, other: str) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def decide(
    action: TrackedAction, type_: DecisionType, by: str, now: int, *, lease: int = 0, comment: str = ""
) -> ActionDecision:
    """Return a decision about an action.

    Args:
        action: what it is about.
        type_: approve, reject, undo or extend.
        by: the person, as name@machine.
        now: ns since the epoch.
        lease: for extend: how long it lasts from now on, ns; 0 for as long as it was requested for.
        comment: the reason.

    Raises:
        DecisionRefused: it isn't possible, or not any longer.
    """
    made = ActionDecision(
        id=alert_id(now, type_, action.intent.id, by),
        type=type_,
        subject=action.intent.id,
        by=by,
        at=now,
        lease=(lease or action.intent.lease) if type_ == "extend" else 0,
        comment=comment,
    )
    if why := _why_impossible(action, made, now):
        raise DecisionRefused(why)
    return made


def _why_impossible(action: TrackedAction, made: ActionDecision, now: int) -> str:
    intent, status = action.intent, action.status(now)
    kind = ACTION_KINDS[intent.type]
    if made.type in ("approve", "reject"):
        if status != "waiting":
            return _stated(_SETTLED[status], action.why(now))
        if made.type == "approve" and made.person in action.approvers:
            return f"{made.by} has approved it already; it needs {intent.approvals} different persons"
        return ""
    if made.type == "undo" and not kind.undo:
        return f"nothing undoes a {intent.type}"
    if made.type == "extend" and not kind.has_lease:
        return f"a {intent.type} doesn't end by itself"
    if made.type == "extend" and not 0 < made.lease <= MAX_LEASE:
        return f"it can last from now on for at most {duration_text(MAX_LEASE)}"
    if status == "waiting":
        return "nothing was done yet: approve or reject it"
    if status not in _ACTIVE or (made.type == "extend" and status == "failed"):
        return _stated(_SETTLED[status], action.why(now))
    return ""


def _stated(what: str, why: str) -> str:
    return f"{what}: {printable(why)}" if why else what


def decide_all(book: ActionBook, type_: DecisionType, subject: str, by: str, now: int) -> ActionDecision:
    """Return a decision to stop or resume all actions, or to reset the fuse of the policy `subject`.

    Raises:
        DecisionRefused: nothing would change, or no policy of this name has requested an action.
    """
    if type_ == "resume" and book.stop is None:
        raise DecisionRefused("actions aren't stopped")
    if type_ == "stop" and book.stop is not None:
        at = date_and_time_seconds(book.stop.at, utc=True)
        raise DecisionRefused(f"{printable(book.stop.by)} stopped all actions at {at} (UTC)")
    if type_ == "reset" and subject not in book.policies:
        known = ", ".join(map(printable, sorted(book.policies))) or "none"
        raise DecisionRefused(
            f"no action policy {printable(subject)} has requested anything; policies that have: {known}"
        )
    return ActionDecision(alert_id(now, type_, subject, by), type_, subject, by, now)


def lasting(book: ActionBook, now: int) -> list[TrackedAction]:
    """Return the actions that are done and can be undone, the newest first."""
    return [each for each in book.actions if each.status(now) == "done" and ACTION_KINDS[each.intent.type].undo]


def by_hand(found: ActionIntent, program: str, by: str, now: int) -> ActionIntent:
    """Return the intent of a person.

    Args:
        found: type, host, target, lease and what identifies the target; the rest is set here.
        program: path of the program that the target runs; empty if it is none or unknown.
        by: the person, as name@machine.
        now: ns since the epoch.

    Raises:
        DecisionRefused: nobody should act on the target.
    """
    if why := why_protected(found, program):
        raise DecisionRefused(f"{printable(found.text)} is protected: {printable(why)}")
    identity = (found.host_id, found.container_id, found.pid, found.path, found.user)
    id_ = alert_id(now, "action", by, found.type, found.target, *identity)
    return replace(found, id=id_, state="do", policy="", created=now, by=by, approvals=0, refusal="")


def target_type(type_: ActionType, given: TargetType | None) -> TargetType:
    """Return what a type of action is done to. Raises DecisionRefused if that isn't what was given."""
    targets = ACTION_KINDS[type_].targets
    chosen = given or ("host" if "host" in targets else None)
    if chosen not in targets:
        raise DecisionRefused(f"{type_} is done to a {' or '.join(targets)}: name it")
    return chosen


def lease_of(type_: ActionType, lease: int | None) -> int:
    """Return how long an action lasts, ns. Raises DecisionRefused if it can't last so long."""
    if not ACTION_KINDS[type_].has_lease:
        if lease:
            raise DecisionRefused(f"a {type_} doesn't end by itself")
        return 0
    if lease is not None and not 0 < lease <= MAX_LEASE:
        raise DecisionRefused(f"it can last for at most {duration_text(MAX_LEASE)}")
    return lease or DEFAULT_LEASE


def on_the_same(actions: Iterable[TrackedAction], intent: ActionIntent, now: int) -> list[TrackedAction]:
    """Return other actions on the same host that wait or last, for the blast radius."""
    return [
        each
        for each in actions
        if each.intent.host_id == intent.host_id
        and each.intent.id != intent.id
        and (status := each.status(now)) in ("waiting", "sent", "received", "done")
        and (status != "done" or ACTION_KINDS[each.intent.type].undo)
    ]
