"""Action policies: what is to be done about the alerts of some rules, what it must never be done about, and how much.

Pure: time and the number of hosts are arguments. A policy's fuse counts what is done in an hour, to how many hosts, and
to how many of one workload. A rule that matches everything blows the fuse instead of stopping a fleet; from then on,
nothing is done until a person resets it.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from foundation.quantities import date_and_time_seconds
from foundation.text import is_like
from foundation.yaml.nodes import SourceLocation
from processor.rule import Rule
from schemas.action import DEFAULT_LEASE, ActionIntent, ActionState, ActionType, TargetType
from schemas.catalog.priorities import Priority

MAX_PER_HOUR = 1000
MAX_APPROVALS = 5

BLOWN = "the fuse has blown"
_HOUR = 3_600_000_000_000


@dataclass(frozen=True, slots=True)
class ActionBudget:
    """How much a policy may do before its fuse blows."""

    per_hour: int = 10
    hosts_percent: int = 10
    """The share of the fleet's hosts with an action that lasts; one host is always allowed."""
    replicas: int = 1
    """Containers of one workload with an action that lasts; a further one is refused, and the fuse stays."""


DEFAULT_BUDGET = ActionBudget()


@dataclass(frozen=True, slots=True)
class Never:
    """What a policy never acts on, whatever its rules state; in each text, `*` matches any text."""

    hosts: tuple[str, ...] = ()
    """Names or ids."""
    users: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    """With or without tag."""
    namespaces: tuple[str, ...] = ()
    """Kubernetes' namespaces."""


@dataclass(frozen=True, slots=True)
class ActionPolicy:
    """An item `action` of a rule file."""

    name: str
    type: ActionType
    target: TargetType
    state: ActionState
    lease: int
    """How long it lasts, ns; 0 for what doesn't end by itself."""
    rules: tuple[str, ...]
    """Names of the rules whose alerts request it, beside those that name it; `*` matches any text."""
    tags: tuple[str, ...]
    """Tags that these rules must have, all of them; without `rules`, any rule that has them is meant."""
    priority: Priority
    """Rules of a lower priority aren't meant."""
    never: Never
    approvals: int = 1
    """How many persons have to approve it, in the state `ask`."""
    wait: int = DEFAULT_LEASE
    """How long they may take, ns."""
    budget: ActionBudget = DEFAULT_BUDGET
    description: str = ""
    location: SourceLocation = field(default=SourceLocation(""), compare=False)

    def is_for(self, rule: Rule) -> bool:
        """Return whether alerts of a rule request it."""
        if self.name in rule.actions:
            return True
        is_named = any(is_like(rule.name, pattern) for pattern in self.rules) if self.rules else bool(self.tags)
        return is_named and set(self.tags) <= set(rule.tags) and rule.priority <= self.priority


def policies_by_rule(policies: Sequence[ActionPolicy], rules: Sequence[Rule]) -> dict[str, tuple[ActionPolicy, ...]]:
    """Return the policies that each rule's alerts request, in the order of their files; only rules that have some."""
    found = {rule.name: tuple(policy for policy in policies if policy.is_for(rule)) for rule in rules}
    return {name: own for name, own in found.items() if own}


@dataclass(frozen=True, slots=True)
class _Spent:
    """An action that counts until its end."""

    time: int
    end: int
    host_id: str
    workload: str


class Fuse:
    """Decides whether the budget of one policy allows an action, and remembers it if so."""

    def __init__(self, budget: ActionBudget) -> None:
        self.budget = budget
        self.blown = ""
        """Why and when it blew; empty if it didn't."""
        self.blown_at = 0
        """When it blew, ns since the epoch."""
        self._lasting: list[_Spent] = []
        self._recent: deque[int] = deque()

    def spend(self, intent: ActionIntent, now: int, hosts: int) -> str:
        """Return why an action isn't allowed; empty if it is, and now counts.

        Args:
            intent: the action.
            now: ns since the epoch, by one clock for all actions of the policy.
            hosts: the number of hosts in the fleet.
        """
        if self.blown:
            return BLOWN
        self._lasting = [each for each in self._lasting if each.end > now]
        while self._recent and self._recent[0] <= now - _HOUR:
            self._recent.popleft()
        workload = "" if intent.target == "host" else intent.workload
        replicas = Counter(each.workload for each in self._lasting)
        if workload and replicas[workload] >= self.budget.replicas:
            return f"{replicas[workload]} of its workload already"
        touched = {each.host_id for each in self._lasting} | {intent.host_id}
        most = max(hosts * self.budget.hosts_percent // 100, 1)
        if len(self._recent) >= self.budget.per_hour:
            self._blow(now, f"{self.budget.per_hour} in an hour")
        elif len(touched) > most:
            self._blow(now, f"{len(touched)} of {hosts} hosts at once")
        if self.blown:
            return BLOWN
        self._recent.append(now)
        self._lasting.append(_Spent(now, now + (intent.lease or _HOUR), intent.host_id, workload))
        return ""

    def dump(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        lasting = [[each.time, each.end, each.host_id, each.workload] for each in self._lasting]
        return {"blown": self.blown, "blown_at": self.blown_at, "recent": list(self._recent), "lasting": lasting}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take the state of another fuse of the policy, as dump returned it. Raises ValueError, KeyError, TypeError."""
        self._lasting = [
            _Spent(int(time), int(end), str(host), str(what)) for time, end, host, what in state["lasting"]
        ]
        self._recent = deque(int(time) for time in state["recent"])
        self.blown, self.blown_at = str(state["blown"]), int(state["blown_at"])

    def _blow(self, now: int, why: str) -> None:
        self.blown, self.blown_at = f"{why}, at {date_and_time_seconds(now, utc=True)}", now
