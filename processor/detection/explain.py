"""Explains why a rule matched an event or not: its condition as a tree with the result of each node.

The verdicts of the checks come from the same generated code as matching does, so an explanation can't give another
story than the engine. Pure: an event is a place in a batch, or a mapping of fields.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from processor.compiler.batch import BatchAccess
from processor.compiler.codegen import Access, Constants, Emitter, Expression
from processor.compiler.mapping import ItemAccess, MappingAccess, ancestor_events, is_given
from processor.fields.extract import event_names
from processor.fields.process import ancestors
from processor.language.ast import (
    Ancestor,
    And,
    Check,
    Field,
    FieldValue,
    Left,
    Macro,
    Node,
    Not,
    Or,
    Transformer,
    checks,
    deep,
    fold,
)
from processor.language.event_types import event_types
from processor.language.printer import print_condition, print_operand
from processor.loading.items.exceptions import split_exceptions
from processor.rule import Rule
from schemas.batch import EventBatch

_MOST_ANCESTORS = 8
"""Ancestors whose values are shown if none of them meets a condition."""
Kind = Literal["and", "or", "not", "macro", "check", "exception"]


class Verdict(Enum):
    """The result of a node. A missing value makes its check false, so `not` of it is true."""

    TRUE = "true"
    FALSE = "false"
    MISSING = "missing"
    """False because the event has no value."""
    UNKNOWN = "unknown"
    """It depends on a field that is not part of what is known about the event."""


@dataclass(frozen=True, slots=True)
class Explained:
    """A node of a condition for one event."""

    kind: Kind
    text: str
    """A check as written, the name of a macro or exception, or the operator."""
    verdict: Verdict
    values: tuple[tuple[str, Any], ...] = ()
    """For a check: the fields that it read and their values; None if missing."""
    children: tuple["Explained", ...] = ()
    unknown: tuple[str, ...] = ()
    """For an unknown check: the fields that it needs."""

    @property
    def is_true(self) -> bool:
        """True if the engine evaluates the node to true."""
        return self.verdict is Verdict.TRUE


class ConditionEvaluator:
    """Evaluates parts of a condition for one event."""

    def __init__(self, access: Access, constants: Constants, names: Mapping[str, Any]) -> None:
        self._emitter = Emitter(access, constants)
        self._constants = constants
        self._names = names

    def check(self, node: Check) -> bool:
        """Return whether a check is true."""
        return bool(self._evaluate(self._emitter.check(node)))

    def value(self, side: Left | FieldValue) -> Any:
        """Return the value of a field or transformer."""
        return self._evaluate(self._emitter.side(side))

    def is_known(self, field: Field) -> bool:  # noqa: ARG002  a batch has all
        """Return whether the value of a field, or that it is missing, is known."""
        return True

    def ancestors(self) -> "Sequence[ConditionEvaluator] | None":
        """Return an evaluator for each known ancestor of the process, the parent first; None if they aren't known."""
        above = ancestors(self._names["P"], self._names["q"])
        return [ConditionEvaluator(BatchAccess(), Constants(), {**self._names, "q": each}) for each in above]

    def _evaluate(self, code: Expression) -> Any:
        return eval(code.text, {**self._names, **self._constants.values})  # noqa: S307  generated from a checked tree


class BatchEvaluator(ConditionEvaluator):
    """Evaluates for an event of a batch."""

    def __init__(self, batch: EventBatch, index: int, name: int | None = None) -> None:
        """Take an event.

        Args:
            batch: a validated batch.
            index: the event's place in it.
            name: index of the file name under which it is evaluated; None for fd.name.
        """
        super().__init__(BatchAccess(), Constants(), event_names(batch, index, name))


class MappingEvaluator(ConditionEvaluator):
    """Evaluates for an event given as a mapping of fields."""

    def __init__(self, event: Mapping[str, Any], *, is_partial: bool = False, is_computed: bool = False) -> None:
        """Take an event.

        Args:
            event: values by field name; None is a missing value.
            is_partial: whether a field that is not in the mapping is unknown instead of missing.
            is_computed: whether the mapping computes the value of any field by subscription.
        """
        constants = Constants()
        super().__init__(ItemAccess() if is_computed else MappingAccess(constants), constants, {"e": event})
        self._is_partial = is_partial
        self._event = event

    def is_known(self, field: Field) -> bool:
        """Return whether the value of a field, or that it is missing, is known."""
        return not self._is_partial or is_given(self._event, field.name, field.argument)

    def ancestors(self) -> Sequence[ConditionEvaluator] | None:
        """Return an evaluator for each ancestor of which the event has fields; an alert has not all of these."""
        return None if self._is_partial else list(map(MappingEvaluator, ancestor_events(self._event)))


def explain(rule: Rule, evaluator: ConditionEvaluator) -> Explained:
    """Explain a rule for one event. evaluator: of the event."""
    with deep():
        own, excepted = split_exceptions(rule.condition, rule.active_exceptions)
        if not excepted:
            return _explained(own, evaluator)
        parts = [_explained(child, evaluator) for child in (own.children if isinstance(own, And) else (own,))]
        for name, child in zip(rule.active_exceptions, excepted, strict=True):
            inner = _explained(child.child if isinstance(child, Not) else child, evaluator)
            parts.append(Explained("exception", name, _not(inner.verdict), children=(inner,)))
        return Explained("and", "and", _all(parts), children=tuple(parts))


def explain_batch(rule: Rule, batch: EventBatch, index: int) -> Explained:
    """Explain a rule for an event of a batch; for a file with two names, under the name that matches.

    Args:
        rule: a loaded rule.
        batch: a validated batch.
        index: the event's place in it.
    """
    lexical = explain(rule, BatchEvaluator(batch, index))
    real = batch.columns["fd_realpath"][index]
    if lexical.is_true or not real or real == batch.columns["fd_name"][index]:
        return lexical
    by_real = explain(rule, BatchEvaluator(batch, index, real))
    return by_real if by_real.is_true else lexical


def _explained(node: Node, evaluator: ConditionEvaluator) -> Explained:
    return fold(node, lambda each, parts: _combined(evaluator, each, parts))


def _combined(evaluator: ConditionEvaluator, node: Node, parts: tuple[Explained, ...]) -> Explained:
    if isinstance(node, Check):
        return _check(node, evaluator)
    if isinstance(node, Macro):
        return Explained("macro", node.name, parts[0].verdict, children=parts)
    if isinstance(node, Not):
        return Explained("not", "not", _not(parts[0].verdict), children=parts)
    if isinstance(node, Ancestor):
        return _ancestor(node, evaluator)
    if isinstance(node, And):
        return Explained("and", "and", _all(parts), children=parts)
    if isinstance(node, Or):
        return Explained("or", "or", _any(parts), children=parts)
    raise TypeError(f"macro {node.name} is not resolved")


_STRONGEST_OF_ALL = (Verdict.FALSE, Verdict.MISSING, Verdict.UNKNOWN, Verdict.TRUE)
_STRONGEST_OF_ANY = (Verdict.TRUE, Verdict.UNKNOWN, Verdict.MISSING, Verdict.FALSE)


def _not(verdict: Verdict) -> Verdict:
    if verdict is Verdict.UNKNOWN:
        return verdict
    return Verdict.FALSE if verdict is Verdict.TRUE else Verdict.TRUE


def _all(children: tuple[Explained, ...] | list[Explained]) -> Verdict:
    return min((child.verdict for child in children), key=_STRONGEST_OF_ALL.index)


def _any(children: tuple[Explained, ...]) -> Verdict:
    return min((child.verdict for child in children), key=_STRONGEST_OF_ANY.index)


def _check(node: Check, evaluator: ConditionEvaluator) -> Explained:
    fields = _fields(node)
    unknown = tuple(print_operand(each) for each in fields if isinstance(each, Field) and not evaluator.is_known(each))
    if unknown:
        # Some comparisons with evt.num have the same result for every event.
        always, never = not event_types(Not(node)), not event_types(node)
        verdict = Verdict.TRUE if always else Verdict.FALSE if never else Verdict.UNKNOWN
        return Explained("check", print_condition(node), verdict, unknown=() if always or never else unknown)
    values = tuple((print_operand(field), evaluator.value(field)) for field in fields)
    if evaluator.check(node):
        verdict = Verdict.TRUE
    else:
        is_missing = node.operator != "exists" and any(value is None or value == () for _, value in values)
        verdict = Verdict.MISSING if is_missing else Verdict.FALSE
    return Explained("check", print_condition(node), verdict, values)


def _ancestor(node: Ancestor, evaluator: ConditionEvaluator) -> Explained:
    """Explain it as one check, by the fields of the ancestor that meets the condition, or by those of the nearest."""
    fields = {print_operand(field): field for check in checks(node.condition) for field in _fields(check)}
    above = evaluator.ancestors()
    if above is None:
        unknown = tuple(f"{name} of each ancestor" for name in fields)
        return Explained("check", print_condition(node), Verdict.UNKNOWN, unknown=unknown)
    found = [each for each in above if _explained(node.condition, each).is_true][:1]
    verdict = Verdict.TRUE if found else Verdict.FALSE if above else Verdict.MISSING
    shown = (found or above)[:_MOST_ANCESTORS]
    values = tuple((name, tuple(each.value(field) for each in shown)) for name, field in fields.items())
    return Explained("check", print_condition(node), verdict, values)


def _fields(node: Check) -> list[Left]:
    """Return the fields that a check reads, each once; a transformer's result comes before its argument."""
    found: dict[str, Left] = {}
    for side in (node.left, node.right):
        for part in _parts(side):
            found.setdefault(print_operand(part), part)
    return list(found.values())


def _parts(side: object) -> Iterator[Left]:
    if isinstance(side, FieldValue):
        yield side.field
    elif isinstance(side, Field):
        yield side
    elif isinstance(side, Transformer):
        yield side
        for argument in side.arguments:
            yield from _parts(argument)
