"""Finds rules that never raise an alert because an earlier rule matches whenever they do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from lanner.ruleset.lint.codes import LintCode
from lanner.ruleset.lint.conditions.conflicts import parts_of
from processor.correlation.plan.spec import Correlation
from processor.language.ast import And, Check, Field, Literal, Macro, Node, Not, Or, ValueList, checks, literals, walk
from processor.loading import Problem, Rule

_EQUALITY = frozenset({"=", "==", "in"})
_EVENT_TYPE = Field("evt.type")
_MOST_EFFORT = 1_000_000
"""Comparisons of rules and their parts."""


@dataclass(frozen=True, slots=True)
class _Conditions:
    """What has to be true for a rule to match."""

    rule: Rule
    parts: frozenset[Node]
    needed: tuple[Node, ...]
    """The parts without those on event types alone, which `Rule.event_types` covers."""
    is_evaluated_alone: bool
    """Whether the rule is stateful or has a `suppress`: `rule_matching: first` then does not concern it."""


def shadowed_rules(rules: Sequence[Rule], correlations: Mapping[str, Correlation]) -> Iterator[Problem]:
    """Yield a problem for each enabled rule that never matches first.

    Args:
        rules: all rules in the order in which they are evaluated.
        correlations: the stateful macros.
    """
    conditions = [_conditions(rule, correlations) for rule in rules if rule.enabled]
    search = _Search()
    for index, later in enumerate(conditions):
        for earlier in islice(conditions, index):
            if search.is_over:
                return
            if search.covers(earlier, later):
                rule, by = later.rule, earlier.rule
                message = f"rule '{by.name}' ({by.file}:{by.line}) matches first whenever this rule does"
                hint = "move this rule before it, make that rule narrower, or set rule_matching to all"
                yield Problem(LintCode.LINT_SHADOWED_RULE, message, "rule", rule.name, rule.location, hint)
                break


def _conditions(rule: Rule, correlations: Mapping[str, Correlation]) -> _Conditions:
    parts = frozenset(part.node for part in parts_of((rule.condition,)))
    needed = tuple(part for part in parts if not all(map(_is_event_type, checks(part))))
    is_stateful = bool(correlations) and any(
        isinstance(node, Macro) and node.name in correlations for node in walk(rule.condition)
    )
    return _Conditions(rule, parts, needed, is_stateful or "suppress" in rule.extensions)


def _is_event_type(check: Check) -> bool:
    return check.left == _EVENT_TYPE and check.operator in (*_EQUALITY, "!=") and check.modifier is None


class _Search:
    """Compares conditions, up to a limit: thousands of rules must not delay the start."""

    def __init__(self) -> None:
        self._left = _MOST_EFFORT

    @property
    def is_over(self) -> bool:
        """Whether the limit is reached."""
        return self._left <= 0

    def covers(self, earlier: _Conditions, later: _Conditions) -> bool:
        """Return whether a rule certainly matches whenever a later one does."""
        self._left -= 1
        if self._left <= 0 or earlier.rule.source != later.rule.source:
            return False
        if earlier.is_evaluated_alone or later.is_evaluated_alone:
            return False
        if not later.rule.event_types or not later.rule.event_types <= earlier.rule.event_types:
            return False
        return all(self._follows(part, later.parts) for part in earlier.needed)

    def _follows(self, node: Node, parts: frozenset[Node]) -> bool:
        """Return whether a condition is certainly true if all parts are."""
        if node in parts:
            return True
        if isinstance(node, Macro):
            return self._follows(node.body, parts)
        if isinstance(node, And):
            return all(self._follows(child, parts) for child in node.children)
        if isinstance(node, Or):
            return any(self._follows(child, parts) for child in node.children)
        self._left -= len(parts)
        if self._left <= 0:
            return False
        if isinstance(node, Check):
            return any(isinstance(part, Check) and _narrower(part, node) for part in parts)
        if isinstance(node, Not):
            return any(isinstance(part, Not) and _wider(part.child, node.child) for part in parts)
        return False


def _narrower(part: Check, check: Check) -> bool:
    """Return whether a comparison for equality allows no value that another doesn't allow."""
    if part.left != check.left or not _is_equality(part) or not _is_equality(check):
        return False
    return {each.text for each in literals(part)} <= {each.text for each in literals(check)}


def _wider(part: Node, node: Node) -> bool:
    return isinstance(part, Check) and isinstance(node, Check) and _narrower(node, part)


def _is_equality(check: Check) -> bool:
    return (
        check.operator in _EQUALITY
        and check.modifier is None
        and isinstance(check.right, Literal | ValueList)
        and bool(literals(check))
    )
