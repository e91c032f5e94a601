"""Finds rules that never raise an alert because an earlier rule matches whenever they do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from lanner.ruleset.lint.codes import LintCode
from lanner.ruleset.lint.conflicts import Part, find_conflict, parts_of
from lanner.ruleset.lint.texts import ConditionText, text_of
from processor.language.ast import And, Check, Field, Literal, Macro, Node, Not, Or, ValueList, checks, literals, walk
from processor.language.event_types import event_types, is_broad
from processor.language.printer import print_condition
from processor.language.tokens import EXACT_OPERATORS
from processor.loading import Problem, Rule
from processor.loading.items.exceptions import split_exceptions
from processor.rule import Correlation

_LONGEST = 60
_MOST_EFFORT = 1_000_000
"""Parts to compare in one condition: a huge one must not delay the start."""


def contradictions(text: ConditionText) -> Iterator[Problem]:
    """Yield a problem for each part of a condition that can't be true."""
    todo: list[tuple[Node, tuple[Part, ...]]] = [(text.tree, ())]
    effort = 0
    while todo and effort < _MOST_EFFORT:
        node, context = todo.pop()
        if isinstance(node, And):
            parts = (*context, *parts_of(node.children))
            alternatives = sum(isinstance(child, Or) for child in node.children)
            effort += len(parts) * (1 + alternatives)
            if effort > _MOST_EFFORT:
                return
            conflict = find_conflict(parts)
            if conflict is not None and conflict.earlier is not conflict.later:
                message = f"never true together with '{shown(conflict.earlier)}', so this part never matches"
                hint = "write 'or' between them, or remove one"
                yield text.problem(LintCode.LINT_CONTRADICTION, message, conflict.later.span, hint)
                continue
            for child in node.children:
                is_or = isinstance(child, Or)
                todo.append((child, tuple(part for part in parts if part.written is not child) if is_or else ()))
        elif isinstance(node, Or):
            # With its context, an alternative is a conjunction.
            todo.extend((And((child,), child.span), context) for child in node.children)
        elif isinstance(node, Not):
            todo.append((node.child, ()))


def unbounded_alternatives(rule: Rule) -> Iterator[Problem]:
    """Yield a problem for each alternative that makes a rule apply to nearly every event, if another doesn't."""
    if not rule.enabled or not is_broad(rule.event_types):
        return
    text = text_of(rule)
    node = split_exceptions(rule.condition, rule.active_exceptions)[0]
    while isinstance(node, And) and len(node.children) == 1:
        node = node.children[0]
    if not isinstance(node, Or):
        return
    broad = [child for child in node.children if is_broad(event_types(child))]
    if len(broad) < len(node.children):
        for child in broad:
            message = "this alternative restricts no event type, so the rule is evaluated for nearly every event"
            hint = "'and' is evaluated before 'or': put the alternatives in parentheses, or restrict evt.type in each"
            yield text.problem(LintCode.LINT_UNBOUNDED_ALTERNATIVE, message, child.span, hint)


def useless_exceptions(rule: Rule) -> Iterator[Problem]:
    """Yield a problem for each exception whose values the rule's condition excludes already."""
    own, exceptions = split_exceptions(rule.condition, rule.active_exceptions)
    text = text_of(rule)
    context = tuple(parts_of((own,)))
    if not exceptions or find_conflict(context) is not None:
        return
    effort = 0
    for name, node in zip(rule.active_exceptions, exceptions, strict=True):
        body = node.child if isinstance(node, Not) else node
        for clause in _clauses(body):
            effort += len(context)
            if effort > _MOST_EFFORT:
                return
            parts = tuple(parts_of((clause,)))
            conflict = find_conflict((*context, *parts)) if find_conflict(parts) is None else None
            if conflict is not None:
                message = (
                    f"exception '{name}' never applies with these values: the rule requires '{shown(conflict.earlier)}'"
                )
                yield text.problem(
                    LintCode.LINT_EXCEPTION_NEVER_APPLIES, message, clause.span, "correct the values, or remove them"
                )


def _clauses(node: Node) -> Sequence[Node]:
    if isinstance(node, Or):
        return node.children
    if isinstance(node, Check) and node.operator == "in" and node.modifier is None:
        return [Check(node.left, "=", value, None, value.span) for value in literals(node)]
    return (node,)


def shown(node: Node) -> str:
    """Return a condition as text, shortened."""
    text = node.name if isinstance(node, Macro) else print_condition(node, expand_macros=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


_EVENT_TYPE = Field("evt.type")
"""Comparisons of rules and their parts."""


@dataclass(frozen=True, slots=True)
class _Conditions:
    """The checks that must be true for a rule to match."""

    rule: Rule
    parts: frozenset[Node]
    needed: tuple[Node, ...]
    """The parts without those on event types alone, which `Rule.event_types` covers."""
    is_evaluated_alone: bool
    """True if the rule is stateful or has a `suppress`: `rule_matching: first` then does not concern it."""


def shadowed_rules(rules: Sequence[Rule], correlations: Mapping[str, Correlation]) -> Iterator[Problem]:
    """Yield a problem for each enabled rule that never matches first. rules: in the order of evaluation."""
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
    return check.left == _EVENT_TYPE and check.operator in (*EXACT_OPERATORS, "!=") and check.modifier is None


class _Search:
    """Compares conditions, up to a limit: thousands of rules must not delay the start."""

    def __init__(self) -> None:
        self._left = _MOST_EFFORT

    @property
    def is_over(self) -> bool:
        """True if the limit is reached."""
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
        check.operator in EXACT_OPERATORS
        and check.modifier is None
        and isinstance(check.right, Literal | ValueList)
        and bool(literals(check))
    )
