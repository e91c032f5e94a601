"""Finds comparisons that can't be true together."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from processor.compiler.operands import NET_TYPES, BadLiteral, BadOperand, Shape, parse_literal, side_shape
from processor.compiler.operators import predicate
from processor.fields.extract import condition_expression
from processor.language.ast import And, Check, Field, Left, Literal, Macro, Node, Not, Or, ValueList, literals
from processor.language.event_types import ALL_EVENT_TYPES, event_types
from processor.language.tokens import EXACT_OPERATORS

_TAKES_ALL = ("in", "pmatch")
_EVENT_TYPE = Field("evt.type")


_Equality = tuple[Left, str, dict[Any, str]]
"""Field, its type, and the values that are allowed."""


@dataclass(frozen=True, slots=True)
class Part:
    """A condition that has to be true, and where the author wrote it: itself, or the macro that contains it."""

    node: Node
    written: Node
    types: frozenset[str]
    """The event types for which it can be true."""
    equal: _Equality | None
    """If it compares for equality: with what."""
    stated: tuple[Check, bool] | None
    """If it is another comparison: which, and whether it must be true."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two parts of which one is never true if the other is."""

    earlier: Node
    later: Node


def parts_of(nodes: Iterable[Node], written: Node | None = None) -> Iterator[Part]:
    """Yield all conditions that have to be true for every node to be true."""
    for node in nodes:
        if isinstance(node, And):
            yield from parts_of(node.children, written)
        elif isinstance(node, Macro):
            yield from parts_of((node.body,), written or node)
        else:
            # Computed once, because a part is compared with many others.
            equal = _equal_to(node)
            yield Part(node, written or node, event_types(node), equal, None if equal else _stated(node))


def find_conflict(parts: Sequence[Part]) -> Conflict | None:
    """Return two parts that can't be true together; None if there are none within what is compared.

    Compared are event types, and the values of fields that have one value.
    """
    return _of_macros(parts) or _of_event_types(parts) or _of_values(parts)


def _of_macros(parts: Sequence[Part]) -> Conflict | None:
    used = {part.written.name: part.written for part in parts if isinstance(part.written, Macro)}
    for part in parts:
        if isinstance(part.node, Not) and isinstance(part.node.child, Macro) and part.node.child.name in used:
            return Conflict(used[part.node.child.name], part.written)
    return None


def _of_event_types(parts: Sequence[Part]) -> Conflict | None:
    types: frozenset[str] | None = None
    last: Part | None = None
    for part in parts:
        own = part.types
        if own is ALL_EVENT_TYPES:
            continue
        if not own:
            # An idiom: a macro that is never true, which other files replace.
            return None
        both = own if types is None else types & own
        if not both and last is not None:
            return Conflict(last.written, part.written)
        if both != types:
            types, last = both, part
    return None


@dataclass(slots=True)
class _Values:
    """The values that a field can have."""

    kind: str
    allowed: dict[Any, str]
    by: Part


def _of_values(parts: Sequence[Part]) -> Conflict | None:
    by_field: dict[Left, list[tuple[Part, Check, bool]]] = {}
    values: dict[Left, _Values | None] = {}
    for part in parts:
        if part.stated is not None:
            by_field.setdefault(part.stated[0].left, []).append((part, *part.stated))
        if part.equal is not None:
            conflict = _restrict(values, part, *part.equal)
            if conflict is not None:
                return conflict
    for left, states in by_field.items():
        conflict = _opposites(states) or _excluded(values.get(left), states)
        if conflict is not None:
            return conflict
    return None


def _restrict(
    values: dict[Left, _Values | None], part: Part, left: Left, kind: str, allowed: dict[Any, str]
) -> Conflict | None:
    before = values.get(left) if left in values else _Values(kind, allowed, part)
    if before is None or not allowed:
        # An empty list is there to be appended to.
        values[left] = None
        return None
    both = {value: text for value, text in before.allowed.items() if value in allowed}
    if not both:
        return Conflict(before.by.written, part.written)
    values[left] = _Values(kind, both, part if len(both) < len(before.allowed) else before.by)
    return None


def _opposites(states: Sequence[tuple[Part, Check, bool]]) -> Conflict | None:
    seen: dict[tuple[Check, bool], Part] = {}
    for part, check, holds in states:
        opposite = seen.get((check, not holds))
        if opposite is not None:
            return Conflict(opposite.written, part.written)
        seen[check, holds] = part
    return None


def _excluded(values: _Values | None, states: Sequence[tuple[Part, Check, bool]]) -> Conflict | None:
    if values is None:
        return None
    allowed = set(values.allowed)
    for part, check, holds in states:
        test = _test(check, values.kind)
        if test is None:
            continue
        rest = {value for value in allowed if test(value) is holds}
        if allowed and not rest:
            return Conflict(values.by.written, part.written)
        allowed = rest
    return None


def _stated(node: Node) -> tuple[Check, bool] | None:
    """Return a check other than an equality, and whether it must be true.

    Macros that must not be true are left out: many are placeholders, defined as something that is true anyway.
    """
    holds = not isinstance(node, Not)
    if isinstance(node, Not):
        node = node.child
    if not isinstance(node, Check) or _shape(node.left) is None or (holds and node.operator in EXACT_OPERATORS):
        return None
    return node, holds


def _test(check: Check, kind: str) -> Callable[[Any], bool] | None:
    texts = tuple(value.text for value in literals(check))
    if check.operator == "exists":
        return lambda _value: True
    if not isinstance(check.right, Literal | ValueList) or (not texts and check.operator in _TAKES_ALL):
        return None
    try:
        return predicate(check.operator, kind, texts, check.modifier)
    except BadLiteral:
        return None


def _equal_to(node: Node) -> _Equality | None:
    """Return the field and the values of a comparison for equality, or of alternatives that all compare one field."""
    if isinstance(node, Macro):
        return _equal_to(node.body)
    if isinstance(node, Or):
        found = [_equal_to(child) for child in node.children]
        first = found[0]
        if first is None or any(each is None or each[0] != first[0] for each in found):
            return None
        return (
            first[0],
            first[1],
            {value: text for each in found if each is not None for value, text in each[2].items()},
        )
    if not isinstance(node, Check) or node.operator not in EXACT_OPERATORS or node.modifier is not None:
        return None
    shape = _shape(node.left)
    if shape is None or not isinstance(node.right, Literal | ValueList) or node.left == _EVENT_TYPE:
        return None
    try:
        return node.left, shape.kind, {parse_literal(each.text, shape.kind): each.text for each in literals(node)}
    except BadLiteral:
        return None


def _shape(left: Left) -> Shape | None:
    """Return the type of a field that has one value, and whose values can be compared; otherwise None."""
    try:
        shape = side_shape(left)
    except BadOperand:
        return None
    if shape.is_list or shape.kind in NET_TYPES or not isinstance(left, Field):
        return None
    found = condition_expression(left.name, left.argument) if shape.spec is not None else None
    return None if found is None or found.several else shape
