"""Action policies: what is to be done about the alerts of some rules, and about what it must never be done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from foundation.text import is_like
from foundation.yaml.nodes import SourceLocation
from processor.rules.rule import Rule
from schemas.catalog.priorities import Priority

ActionType = Literal["kill", "freeze", "isolate", "quarantine", "lock"]
TargetType = Literal["process", "session", "container", "host", "program", "file", "user"]
State = Literal["would", "ask", "do"]


@dataclass(frozen=True, slots=True)
class ActionKind:
    """The facts about one type of action."""

    targets: tuple[TargetType, ...]
    """What it can be done to, the most likely first."""
    done: str
    """The past participle of its name."""
    has_lease: bool
    """True if it ends by itself unless somebody extends it."""


ACTION_KINDS: Mapping[ActionType, ActionKind] = {
    "kill": ActionKind(("process", "session"), "killed", has_lease=False),
    "freeze": ActionKind(("container",), "frozen", has_lease=True),
    "isolate": ActionKind(("container", "host"), "isolated", has_lease=True),
    "quarantine": ActionKind(("program", "file"), "quarantined", has_lease=False),
    "lock": ActionKind(("user",), "locked", has_lease=True),
}
DEFAULT_LEASE = 900_000_000_000
"""How long an action lasts that ends by itself, ns."""
MAX_LEASE = 7 * 86_400_000_000_000


MAX_PER_HOUR = 1000


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
    state: State
    lease: int
    """Nanoseconds; 0 for what doesn't end by itself."""
    rules: tuple[str, ...]
    """Names of the rules whose alerts request it, beside those that name it; `*` matches any text."""
    tags: tuple[str, ...]
    """Tags that these rules must have, all of them; without `rules`, any rule that has them is meant."""
    priority: Priority
    """Rules of a lower priority aren't meant."""
    never: Never
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
