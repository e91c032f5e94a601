"""Action policies: what is to be done about the alerts of some rules, and about what it must never be done."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from foundation.text import is_like
from foundation.yaml.nodes import SourceLocation
from processor.rules.rule import Rule
from schemas.action import DEFAULT_LEASE, ActionState, ActionType, TargetType
from schemas.catalog.priorities import Priority

MAX_PER_HOUR = 1000
MAX_APPROVALS = 5


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
