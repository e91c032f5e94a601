"""Decides which requested actions become intents: one per target while the action lasts, within the policy's budget.

Pure: time and the number of hosts are arguments, so that a request that is evaluated again after a crash has the same
outcome.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace

from processor.actions.planning import ActionTarget, target_of
from processor.actions.policies import BLOWN, DEFAULT_BUDGET, ActionBudget, Fuse
from schemas.action import (
    ACTION_KINDS,
    ACTION_TAKEN,
    MAX_RECORD_BYTES,
    ActionIntent,
    ActionResult,
    BadActionRecord,
    decode_action_record,
    encode_action_record,
)
from schemas.alert import Alert, Value, alert_id

ACTIONS_STOPPED = "Lanner internal: actions stopped"
_PRIORITIES: Mapping[str, str] = {"failed": "Error", "refused": "Warning"}
_HOUR = 3_600_000_000_000
_MAX_TARGETS = 10_000
_MAX_REQUEST_BYTES = 2 * MAX_RECORD_BYTES + 1024


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """What an alert requests of a policy, with all that the decision depends on but time and earlier requests."""

    intent: ActionIntent
    budget: ActionBudget
    hosts: int
    """The number of hosts in the fleet."""


@dataclass(frozen=True, slots=True)
class ReportedResult:
    """What a host did, for the alert about it."""

    result: ActionResult
    intent: ActionIntent | None
    """None if it isn't known."""


def encode_result(reported: ReportedResult) -> bytes:
    """Encode a result as JSON. Raises BadActionRecord if it is out of range."""
    rows = {
        name: None if record is None else json.loads(encode_action_record(record))
        for name, record in (("result", reported.result), ("intent", reported.intent))
    }
    return json.dumps(rows, separators=(",", ":")).encode()


def encode_request(request: ActionRequest) -> bytes:
    """Encode a request as JSON. Raises BadActionRecord if its intent is out of range."""
    intent = json.loads(encode_action_record(request.intent))
    row = {"intent": intent, "budget": asdict(request.budget), "hosts": request.hosts}
    return json.dumps(row, separators=(",", ":")).encode()


def encode_reset(stored: int) -> bytes:
    """Encode that a person reset the fuse of a policy. stored: when the broker stored that, ns since the epoch."""
    return json.dumps({"reset": stored}).encode()


def decode_request(data: bytes) -> ActionRequest | ReportedResult | int:
    """Decode a request, a result, or when somebody reset the fuse. Raises BadActionRecord."""
    if len(data) > _MAX_REQUEST_BYTES:
        raise BadActionRecord(f"{len(data)} bytes; {_MAX_REQUEST_BYTES} are allowed")
    try:
        row = json.loads(data)
        if "reset" in row:
            return int(row["reset"])
        intent = row["intent"] and decode_action_record(json.dumps(row["intent"]).encode(), ActionIntent)
        if "result" in row:
            return ReportedResult(decode_action_record(json.dumps(row["result"]).encode(), ActionResult), intent)
        budget = ActionBudget(**{name: int(value) for name, value in row["budget"].items()})
        return ActionRequest(intent, budget, int(row["hosts"]))
    except BadActionRecord:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BadActionRecord("not a request of an action") from None


class PolicyBudgets:
    """The budgets of policies, and the targets on which their actions last."""

    def __init__(self) -> None:
        self._fuses: dict[str, Fuse] = {}
        self._lasting: dict[str, dict[ActionTarget, int]] = {}
        """By policy and target, until when no further intent is made."""
        self.repeated = 0
        """Requests about a target on which the action lasts."""
        self.withheld = 0
        """Requests after a fuse had blown, in addition to the one that was recorded."""

    def take(self, request: ActionRequest, now: int) -> ActionIntent | None:
        """Return an intent to record, with why it is not done if the budget refuses it; None if there is nothing new.

        Args:
            request: of an intent without a refusal.
            now: ns since the epoch, by one clock for all requests of the policy.
        """
        intent = request.intent
        lasting = self._lasting.setdefault(intent.policy, {})
        target = target_of(intent)
        if lasting.get(target, 0) > now:
            self.repeated += 1
            return None
        fuse = self._fuses.setdefault(intent.policy, Fuse(request.budget))
        fuse.budget = request.budget
        if fuse.blown:
            self.withheld += 1
            return None
        refusal = fuse.spend(intent, now, request.hosts)
        if len(lasting) >= _MAX_TARGETS:
            lasting = self._lasting[intent.policy] = {each: end for each, end in lasting.items() if end > now}
        lasting[target] = now + (intent.lease or _HOUR)
        return replace(intent, refusal=f"{refusal}: {fuse.blown}" if refusal == BLOWN else refusal)

    @property
    def policies(self) -> Collection[str]:
        """The names of the policies of which anything is remembered."""
        return self._lasting.keys()

    def blown(self, policy: str) -> str:
        """Return why a policy's fuse has blown; empty if it hasn't."""
        fuse = self._fuses.get(policy)
        return "" if fuse is None else fuse.blown

    def reset(self, policy: str, at: int) -> None:
        """Begin with a whole budget, if the fuse blew before. at: ns since the epoch."""
        fuse = self._fuses.get(policy)
        if fuse is not None and fuse.blown and fuse.blown_at < at:
            del self._fuses[policy]
            self._lasting[policy] = {}

    def dump(self, policy: str) -> bytes:
        """Encode the state of one policy."""
        fuse = self._fuses.get(policy)
        lasting = [[each.type, each.host_id, *each.key, end] for each, end in self._lasting.get(policy, {}).items()]
        state = {"policy": policy, "fuse": None if fuse is None else fuse.dump(), "lasting": lasting}
        return json.dumps(state, separators=(",", ":")).encode()

    def load(self, data: bytes) -> None:
        """Take a state that dump returned. Raises ValueError, KeyError or TypeError if it is none."""
        state = json.loads(data)
        lasting = {ActionTarget(type_, str(host), tuple(key)): int(end) for type_, host, *key, end in state["lasting"]}
        policy = str(state["policy"])
        if state["fuse"] is not None:
            fuse = Fuse(DEFAULT_BUDGET)
            fuse.load(state["fuse"])
            self._fuses[policy] = fuse
        self._lasting[policy] = lasting

    def forget(self, policy: str) -> None:
        """Forget all of a policy."""
        self._fuses.pop(policy, None)
        self._lasting.pop(policy, None)


def fuse_blown(intent: ActionIntent, why: str) -> Alert:
    """Return the alert that the fuse of an intent's policy has blown."""
    return Alert(
        id=alert_id(intent.created, ACTIONS_STOPPED, intent.policy, intent.id),
        time=intent.created,
        rule=ACTIONS_STOPPED,
        priority="Critical",
        output=(
            f"the fuse of action {intent.policy} has blown: {why}. It does nothing more until "
            f"`lanner actions reset` resets it"
        ),
        output_fields={"action.policy": intent.policy, "action.refusal": why},
        source="internal",
        hostname=intent.hostname,
        host_id=intent.host_id,
    )


def action_result(result: ActionResult, intent: ActionIntent | None) -> Alert:
    """Return the alert about what a host did. intent: what was requested; None if it isn't known."""
    fields: dict[str, Value] = {"action.id": result.intent, "action.outcome": result.outcome}
    what = "an action"
    if intent is not None:
        what = f"{intent.type} {intent.text}"
        fields |= {
            "action.type": intent.type,
            "action.target": intent.text,
            "action.policy": intent.policy or None,
            "action.rule": intent.rule or None,
            "action.alert": intent.alert or None,
            "action.undo": ACTION_KINDS[intent.type].undo or None,
        }
    by = f", by {result.by}" if result.by else ""
    return Alert(
        id=alert_id(result.at, ACTION_TAKEN, result.intent, result.outcome, result.host_id),
        time=result.at,
        rule=ACTION_TAKEN,
        priority=_PRIORITIES.get(result.outcome, "Notice"),
        output=f"{what}: {result.outcome}{by} | {result.text}",
        output_fields={**fields, "action.by": result.by or None},
        source="internal",
        hostname=result.hostname,
        host_id=result.host_id,
    )
