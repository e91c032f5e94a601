"""The differences between two versions of the rules, as text for people who confirm a change.

Pure. For action policies, they include whether a policy may do more than before. A policy's power consists of what the
policy states and of the enabled rules that request it, because a rule that alerts on more acts on more. What can't be
shown to be less counts as more.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, Protocol

from processor.actions.policies import ActionPolicy
from processor.language.ast import And, Macro, Node, checks, deep, indicators_in, walk
from processor.language.printer import print_condition
from processor.loading.rules import LoadedIndicators, LoadedList
from processor.rule import LoadedMacro, Rule, correlations_of

_Kind = Literal["rule", "macro", "list", "indicators", "action"]
_MAX_NAME = 120

_Facts = Mapping[str, object]
"""The content of an item by aspect; an aspect's key is the text that reports its change."""
_STATES = ("would", "ask", "do")
_SHOWN_RULES = 3


class RuleSnapshot(Protocol):
    """A version of the rules: the rules, enabled or not, and the items that they use."""

    @property
    def rules(self) -> Sequence[Rule]:
        """All rules."""

    @property
    def macros(self) -> Mapping[str, LoadedMacro]:
        """The macros by name."""

    @property
    def lists(self) -> Mapping[str, LoadedList]:
        """The lists by name."""

    @property
    def indicators(self) -> Mapping[str, LoadedIndicators]:
        """The lists of indicators by name."""

    @property
    def actions(self) -> Sequence[ActionPolicy]:
        """All action policies."""


@dataclass(frozen=True, slots=True)
class RuleChange:
    """A changed item."""

    sign: Literal["-", "+", "~"]
    kind: _Kind
    name: str
    how: tuple[str, ...] = ()
    """Its changed aspects, if it exists in both versions."""

    @property
    def text(self) -> str:
        """The change on one line."""
        subject = f"{self.sign} {self.kind} {self.name[:_MAX_NAME]}"
        if self.sign == "~":
            return f"{subject}: {', '.join(self.how)}"
        return f"{subject} {'removed' if self.sign == '-' else 'added'}"


def difference(old: RuleSnapshot, new: RuleSnapshot) -> tuple[RuleChange, ...]:
    """Compare two versions; rules come first, then macros, lists, lists of indicators and action policies."""
    with deep():
        rules = _compared("rule", _rules(old), _rules(new))
    macros = _compared("macro", _macros(old), _macros(new))
    lists = _compared("list", _lists(old), _lists(new))
    indicators = _compared("indicators", _indicators(old), _indicators(new))
    actions = _compared("action", _actions(old), _actions(new))
    return (*rules, *macros, *lists, *indicators, *actions)


def lines(changes: Sequence[RuleChange], most: int) -> tuple[str, ...]:
    """Return at most `most` changes as lines, and one line with the number of further changes."""
    shown = tuple(change.text for change in changes[:most])
    return shown if len(changes) <= most else (*shown, f"… and {len(changes) - most} more changes")


def enabled(rules: Iterable[Rule]) -> int:
    """Return the number of enabled rules."""
    return sum(rule.enabled for rule in rules)


def changed_rules(old: RuleSnapshot, new: RuleSnapshot) -> frozenset[str]:
    """Return the enabled rules that are new, or may alert on other events than before, also by macros and lists."""
    with deep():
        before, after = deciding(old), deciding(new)
    return frozenset(name for name, facts in after.items() if before.get(name) != facts)


def deciding(version: RuleSnapshot) -> dict[str, tuple[object, ...]]:
    """Return by enabled rule what decides its alerts and their priority: the condition's text first."""
    correlations = correlations_of(version.macros)
    found: dict[str, tuple[object, ...]] = {}
    for rule in version.rules:
        if rule.enabled:
            names = {node.name for node in walk(rule.condition) if isinstance(node, Macro)}
            windows = {name: correlations[name] for name in sorted(names & correlations.keys())}
            sums = {each.contents.table.checksum for check in checks(rule.condition) for each in indicators_in(check)}
            text = print_condition(rule.condition)
            code = rule.python and rule.python.code
            found[rule.name] = (text, windows, sorted(sums), rule.source, rule.priority, rule.suppress, code)
    return found


def _rules(version: RuleSnapshot) -> dict[str, _Facts]:
    return {rule.name: _rule(rule) for rule in version.rules}


def _rule(rule: Rule) -> _Facts:
    return {
        "condition changed": " ".join(rule.condition_text.split()),
        "exceptions changed": _exceptions(rule),
        "priority": str(rule.priority),
        "output changed": rule.output,
        "enabled": rule.enabled,
        "suppress changed": rule.suppress,
        "source changed": rule.source,
        "tags changed": rule.tags,
        "description changed": rule.description,
        "response changed": rule.response,
        "actions changed": rule.actions,
        "code changed": rule.python and rule.python.code,
    }


def _exceptions(rule: Rule) -> tuple[str, ...]:
    count = len(rule.active_exceptions)
    condition: Node = rule.condition
    if not count or not isinstance(condition, And):
        return ()
    return tuple(print_condition(each, expand_macros=False) for each in condition.children[-count:])


def _macros(version: RuleSnapshot) -> dict[str, _Facts]:
    return {
        name: {"condition changed": " ".join(macro.condition_text.split()), "correlation changed": macro.correlation}
        for name, macro in version.macros.items()
    }


def _lists(version: RuleSnapshot) -> dict[str, _Facts]:
    return {name: {"items changed": each.items} for name, each in version.lists.items()}


def _indicators(version: RuleSnapshot) -> dict[str, _Facts]:
    found: dict[str, _Facts] = {}
    for name, each in version.indicators.items():
        spec = each.indicators.spec
        found[name] = {
            "file changed": spec.file,
            "entries changed": each.indicators.contents.table.checksum,
            "how it is read changed": (spec.kind, spec.form, spec.columns, spec.source, spec.expires_after),
        }
    return found


def _actions(version: RuleSnapshot) -> dict[str, _Facts]:
    return {
        policy.name: {
            "what it does changed": (policy.type, policy.target, policy.lease),
            "state": policy.state,
            "approvals changed": (policy.approvals, policy.wait),
            "the rules that request it changed": (policy.rules, policy.tags, policy.priority),
            "what it is never for changed": policy.never,
            "budget changed": policy.budget,
            "description changed": policy.description,
        }
        for policy in version.actions
    }


def _compared(kind: _Kind, old: Mapping[str, _Facts], new: Mapping[str, _Facts]) -> Iterator[RuleChange]:
    for name, facts in old.items():
        if name not in new:
            yield RuleChange("-", kind, name)
        elif how := tuple(
            _described(aspect, was, new[name][aspect]) for aspect, was in facts.items() if was != new[name][aspect]
        ):
            yield RuleChange("~", kind, name, how)
    for name in new:
        if name not in old:
            yield RuleChange("+", kind, name)


def _described(aspect: str, was: object, becomes: object) -> str:
    if aspect == "enabled":
        return "enabled" if becomes else "disabled"
    if aspect in ("priority", "state"):
        return f"{aspect} {becomes} instead of {was}"
    return aspect


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
