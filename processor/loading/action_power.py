"""What action policies may do in a version of the rules, and whether that is more than in another.

Pure. A policy's power consists of what the policy states and of the enabled rules that request it, because a rule that
alerts on more acts on more. What can't be shown to be less counts as more.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from processor.actions.policies import ActionPolicy
from processor.language.ast import And, Node, deep
from processor.language.printer import print_condition
from processor.loading.difference import RuleSnapshot, deciding

_STATES = ("would", "ask", "do")
_SHOWN_RULES = 3


@dataclass(frozen=True, slots=True)
class RequestingRule:
    """A rule that requests an action."""

    terms: frozenset[str]
    """The conditions that have to be true, all of them."""
    others: tuple[object, ...]
    """What else decides its alerts."""

    def is_within(self, other: "RequestingRule") -> bool:
        """Return whether each of its alerts would be one of the other rule, too."""
        return self.others == other.others and self.terms >= other.terms


@dataclass(frozen=True, slots=True)
class PolicyPower:
    """What one policy may do."""

    policy: ActionPolicy
    rules: Mapping[str, RequestingRule]
    """By name."""

    @property
    def is_real(self) -> bool:
        """True if something may be done, not only stated."""
        return self.policy.state != "would" and bool(self.rules)

    @property
    def digest(self) -> str:
        """Identifies the policy, in its state, together with its rules."""
        one = self.policy
        never = [sorted(getattr(one.never, name)) for name in one.never.__slots__]
        stated = (one.name, one.type, one.target, one.state, one.lease, one.approvals, one.budget, never)
        rules = [(name, sorted(each.terms), each.others) for name, each in sorted(self.rules.items())]
        return blake2b(repr((stated, rules)).encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()

    def wider_than(self, before: "PolicyPower | None") -> tuple[str, ...]:
        """Return in which respects it may do more than before; empty if in none. before: None if it is new."""
        if not self.is_real:
            return ()
        if before is None or not before.is_real:
            return (f"state {self.policy.state}",)
        return tuple(_wider(before, self))


def action_powers(version: RuleSnapshot) -> dict[str, PolicyPower]:
    """Return what each policy of a version may do, by its name."""
    with deep():
        facts = deciding(version)
        conditions = {rule.name: rule.condition for rule in version.rules if rule.name in facts}
        found = {}
        for policy in version.actions:
            names = [rule.name for rule in version.rules if rule.name in facts and policy.is_for(rule)]
            rules = {name: RequestingRule(frozenset(_terms(conditions[name])), facts[name][1:]) for name in names}
            found[policy.name] = PolicyPower(policy, rules)
    return found


def _terms(condition: Node) -> Iterator[str]:
    """Yield the parts of a condition that all have to be true; an exception adds one."""
    if isinstance(condition, And):
        for child in condition.children:
            yield from _terms(child)
    else:
        yield print_condition(condition)


def _wider(before: PolicyPower, after: PolicyPower) -> Iterator[str]:
    old, new = before.policy, after.policy
    if _STATES.index(new.state) > _STATES.index(old.state):
        yield f"state {new.state} instead of {old.state}"
    if new.state == old.state == "ask" and new.approvals < old.approvals:
        yield f"{new.approvals} instead of {old.approvals} approvals"
    if (new.type, new.target) != (old.type, old.target):
        yield f"{new.type} {new.target} instead of {old.type} {old.target}"
    elif new.lease > old.lease:
        yield "a longer lease"
    if any(getattr(new.budget, name) > getattr(old.budget, name) for name in new.budget.__slots__):
        yield "a larger budget"
    if any(set(getattr(old.never, name)) - set(getattr(new.never, name)) for name in new.never.__slots__):
        yield "never is shorter"
    more = [
        name
        for name, rule in after.rules.items()
        if (known := before.rules.get(name)) is None or not rule.is_within(known)
    ]
    if more:
        others = f" and {len(more) - _SHOWN_RULES} more" if len(more) > _SHOWN_RULES else ""
        yield f"rules that are new to it, or may alert on more: {', '.join(more[:_SHOWN_RULES])}{others}"
