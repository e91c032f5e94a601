"""Lints of whole conditions: parts that are never true, exceptions that never apply, alternatives without a bound."""

from collections.abc import Iterator, Sequence

from lanner.ruleset.lint.codes import LintCode
from lanner.ruleset.lint.conditions.conflicts import Part, find_conflict, parts_of
from lanner.ruleset.lint.texts import ConditionText, text_of
from processor.language.ast import And, Check, Macro, Node, Not, Or, literals
from processor.language.event_types import event_types, is_broad
from processor.language.printer import print_condition
from processor.loading import Problem, Rule
from processor.loading.items.exceptions import split_exceptions

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
