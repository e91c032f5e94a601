"""The state of all actions, from the records about them.

Pure: time is an argument. Records may come in any order, and more than once.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from foundation.caches import BoundedMap
from foundation.quantities import iso8601_zulu
from processor.actions.policies import BLOWN
from schemas.action import ActionDecision, ActionIntent, ActionResult, Outcome, is_agreed

ActionStatus = Literal[
    "would",
    "refused",
    "waiting",
    "rejected",
    "expired",
    "sent",
    "received",
    "done",
    "gone",
    "failed",
    "undone",
    "ended",
]
"""`sent`: no host has answered yet. The last six are what the host reported."""
ActionRecord = ActionIntent | ActionDecision | ActionResult
_Record = TypeVar("_Record", ActionDecision, ActionResult)
MAX_ACTIONS = 50_000
_MAX_ABOUT_ONE = 100
"""Decisions and results about one action; anyone with the right to write can send more."""
_NS_PER_MS = 1_000_000
_REPORTED: dict[Outcome, ActionStatus] = {
    "received": "received",
    "done": "done",
    "gone": "gone",
    "refused": "refused",
    "failed": "failed",
    "extended": "done",
    "undone": "undone",
    "ended": "ended",
}
_ORDER: tuple[Outcome, ...] = ("received", "refused", "gone", "failed", "done", "extended", "ended", "undone")
"""A later outcome replaces an earlier one, in whatever order they are read."""


@dataclass(slots=True)
class TrackedAction:
    """One intent, with what people decided and what the host did."""

    intent: ActionIntent
    stored: int
    """When the intent was stored, by the broker's clock in a fleet, ns since the epoch."""
    signed_by: str = ""
    decisions: list[ActionDecision] = field(default_factory=list)
    results: list[ActionResult] = field(default_factory=list)

    @property
    def approvers(self) -> set[str]:
        """The persons who approved it."""
        return {each.person for each in self.decisions if each.type == "approve"}

    @property
    def last(self) -> ActionResult | None:
        """What the host reported last."""
        return max(self.results, key=lambda each: _ORDER.index(each.outcome), default=None)

    def status(self, now: int) -> ActionStatus:
        """Return the state. now: ns since the epoch."""
        last = self.last
        # A host may receive an intent before people have approved it.
        if last is not None and last.outcome != "received":
            return _REPORTED[last.outcome]
        if self.intent.refusal:
            return "refused"
        if self.intent.state == "would":
            return "would"
        if any(each.type == "reject" for each in self.decisions):
            return "rejected"
        is_approved = is_agreed(self.intent, self.approvers)
        if now > self.stored + self.intent.wait and not (is_approved and last):
            return "expired"
        return ("received" if last else "sent") if is_approved else "waiting"

    def why(self, now: int) -> str:
        """Return the reason of the state, for people; it may contain what an attacker wrote."""
        last, status = self.last, self.status(now)
        if last is not None and last.outcome != "received":
            return last.text
        if status == "rejected":
            return next(f"by {each.by}" for each in self.decisions if each.type == "reject")
        if status in ("waiting", "expired") and self.intent.approvals:
            return f"{len(self.approvers)} of {self.intent.approvals} approvals"
        return self.intent.refusal


class ActionBook:
    """All actions that are known; of more than MAX_ACTIONS, the oldest are forgotten."""

    def __init__(self) -> None:
        self.stop: ActionDecision | None = None
        """The decision by which all hosts stopped acting; None if they may act."""
        self._actions: OrderedDict[str, TrackedAction] = OrderedDict()
        self._early: BoundedMap[str, list[tuple[ActionDecision | ActionResult, int]]] = BoundedMap(MAX_ACTIONS)
        """By the id of an intent that isn't known yet."""
        self._switched = -1
        self._resets: BoundedMap[str, int] = BoundedMap(MAX_ACTIONS)

    @property
    def actions(self) -> Sequence[TrackedAction]:
        """The newest first."""
        return sorted(self._actions.values(), key=lambda each: each.stored, reverse=True)

    def find(self, id_: str) -> TrackedAction | None:
        """Return the action with an id; None if it is unknown."""
        return self._actions.get(id_)

    @property
    def policies(self) -> Mapping[str, TrackedAction]:
        """The newest action of each policy that requested one."""
        newest: dict[str, TrackedAction] = {}
        for each in self.actions:
            if each.intent.policy:
                newest.setdefault(each.intent.policy, each)
        return newest

    @property
    def blown(self) -> Sequence[str]:
        """Policies whose newest action was refused because their fuse has blown, and that nobody has reset since."""
        return [
            name
            for name, each in sorted(self.policies.items())
            if each.intent.refusal.startswith(BLOWN) and each.stored > (self._resets.get(name) or 0)
        ]

    def take(self, record: ActionRecord, stored: int, signed_by: str = "") -> None:
        """Take a record. stored: when it was stored, ns since the epoch."""
        if isinstance(record, ActionIntent):
            if self._actions.get(record.id) is None:
                self._actions[record.id] = TrackedAction(record, stored, signed_by)
                if len(self._actions) > MAX_ACTIONS:
                    self._actions.popitem(last=False)
                for early, then in self._early.pop(record.id) or ():
                    self.take(early, then)
            return
        if isinstance(record, ActionDecision) and record.type in ("stop", "resume"):
            if stored >= self._switched:
                self._switched, self.stop = stored, record if record.type == "stop" else None
            return
        if isinstance(record, ActionDecision) and record.type == "reset":
            self._resets.put(record.subject, max(stored, self._resets.get(record.subject) or 0))
            return
        subject = record.intent if isinstance(record, ActionResult) else record.subject
        action = self._actions.get(subject)
        if action is None:
            others = self._early.get(subject) or []
            self._early.put(subject, [*others[-_MAX_ABOUT_ONE + 1 :], (record, stored)])
        elif isinstance(record, ActionResult):
            _add(action.results, record)
        else:
            _add(action.decisions, record)


def _add(records: list[_Record], record: _Record) -> None:
    if record not in records and len(records) < _MAX_ABOUT_ONE:
        records.append(record)


def action_json(action: TrackedAction, now: int) -> dict[str, object]:
    """Return an action as JSON values."""
    intent = action.intent
    return {
        "id": intent.id,
        "state": action.status(now),
        "why": action.why(now) or None,
        "stored": iso8601_zulu(action.stored),
        "type": intent.type,
        "target": intent.target,
        "text": intent.text,
        "host": intent.hostname,
        "host_id": intent.host_id,
        "policy": intent.policy or None,
        "rule": intent.rule or None,
        "alert": intent.alert or None,
        "by": intent.by or None,
        "lease_seconds": intent.lease // 1_000_000_000 or None,
        "approvals": intent.approvals,
        "decisions": [
            {"type": each.type, "by": each.by, "at": iso8601_zulu(each.at), "comment": each.comment or None}
            for each in action.decisions
        ],
        "results": [
            {"outcome": each.outcome, "text": each.text, "at": iso8601_zulu(each.at), "by": each.by or None}
            for each in action.results
        ],
    }


class ActionRecords(Protocol):
    """Where records are stored: this host's file, or a fleet's topics."""

    def update(self, book: ActionBook) -> Sequence[ActionRecord]:
        """Pass the records that were stored since the last call to a book, and return them."""

    def write(self, record: ActionRecord) -> None:
        """Store a record, signed where that is needed. Raises BadActionRecord, OSError or BusUnavailable."""

    def close(self) -> None:
        """Close the file or client."""
