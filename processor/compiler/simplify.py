"""Rewrites of a condition that preserve its meaning for every event.

Each function's docstring states its algebra. A check is either true or false: a missing value makes it
false. So the laws of two-valued logic apply.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from processor.compiler.operators import predicate
from processor.fields.event import path_field
from processor.language.ast import (
    Ancestor,
    And,
    Check,
    Field,
    FieldValue,
    Literal,
    Macro,
    Node,
    Not,
    Or,
    ValueList,
    checks,
    literals,
)
from processor.language.event_types import ALL_EVENT_TYPES, types_with_field
from processor.language.tokens import IN_INDICATORS

Folded = Node | bool
"""A tree, or the constant that it always evaluates to."""
KnownMacros = dict[tuple[Macro, str | None], Folded]
"""Simplified macros, by the event type that they were simplified for."""

_OTHER = "\0"
"""Represents all event types that a condition does not name; no literal can equal it."""

_PATH = Field("evt.path")
_NEVER = (Field("evt.num"), "<", Literal("0"))
_CONSTANT_FIELDS = {"evt.dir": "<", "evt.source": "syscall"}


def simplify(condition: Node, event_type: str | None = None, known: KnownMacros | None = None) -> Folded:
    """Simplify a condition for events of one type.

    Args:
        condition: with macros resolved.
        event_type: None leaves checks on evt.type and evt.path unchanged.
        known: macros that were simplified before, for conditions that share them; new ones are added.
    """
    if isinstance(condition, Check):
        return _decide(condition, event_type)
    if isinstance(condition, Macro):
        if known is None:
            return _macro(condition, event_type, None)
        key = condition, event_type
        found = known.get(key)
        if found is None:
            found = known[key] = _macro(condition, event_type, known)
        return found
    if isinstance(condition, Not):
        return _not(simplify(condition.child, event_type, known))
    if isinstance(condition, Ancestor):
        return _ancestor(condition, known)
    if isinstance(condition, And | Or):
        return _combined(type(condition), (simplify(child, event_type, known) for child in condition.children))
    raise TypeError(f"macro {condition.name} is not resolved")


def by_type(conditions: Sequence[Node], event_types: frozenset[str]) -> Iterator[tuple[int, str, Folded]]:
    """Yield the index of each condition with each event type for which it can be true, simplified for that type."""
    known: KnownMacros = {}
    for index, condition in enumerate(conditions):
        named = named_types(condition)
        # What is false for a type that the condition doesn't name is false for all such types.
        is_for_named = named is not None and simplify(condition, _OTHER, known) is False
        for event_type in named & event_types if named is not None and is_for_named else event_types:
            folded = simplify(condition, event_type, known)
            if folded is not False:
                yield index, event_type, folded


def named_types(condition: Node) -> frozenset[str] | None:
    """Return the event types that a condition compares evt.type with, and those that alone have a field of it.

    None if it compares otherwise than by value.
    """
    found: set[str] = set()
    for check in checks(condition):
        found.update(types_with_field(check))
        if not isinstance(check.left, Field) or check.left.name != "evt.type" or check.operator == "exists":
            continue
        if check.operator not in ("=", "==", "!=", "in", "intersects"):
            return None
        if not isinstance(check.right, Literal | ValueList):
            return None
        found.update(item.text for item in literals(check))
    return frozenset(found)


def _ancestor(node: Ancestor, known: KnownMacros | None) -> Folded:
    """Rewrite: ancestor(false) -> false; ancestor(true) stays, because there may be no ancestor."""
    inner = simplify(node.condition, None, known)
    if isinstance(inner, bool):
        return node if inner else False
    return Ancestor(inner, node.span)


def _macro(node: Macro, event_type: str | None, known: KnownMacros | None) -> Folded:
    """Rewrite: M -> its body if that is now a constant or a single check; otherwise M, so that it stays shared."""
    body = simplify(node.body, event_type, known)
    if isinstance(body, bool | Check | Macro):
        return body
    return node if body is node.body else Macro(node.name, body, node.span)


def _decide(node: Check, event_type: str | None) -> Folded:
    """Rewrite: evt.type OP x -> its value if the type is known; evt.dir, evt.source likewise; x in () -> false.

    Rewrite: evt.num < 0 -> false, by which rules have places for exceptions; dns.* OP x and
    tls.* OP x -> false if events of the type never have the field.
    """
    if isinstance(node.right, ValueList) and not node.right.items and node.operator != "pmatch":
        return False
    if (node.left, node.operator, node.right) == _NEVER:
        return False
    if event_type is not None and (only := types_with_field(node)) and event_type not in only:
        return False
    node = _about_path(node, event_type)
    if not isinstance(node.left, Field):
        return node
    name = node.left.name
    value = event_type if name == "evt.type" else _CONSTANT_FIELDS.get(name)
    if value is None:
        return node
    if node.operator == "exists":
        return True
    if not isinstance(node.right, Literal | ValueList) or node.operator == IN_INDICATORS:
        return node
    return predicate(node.operator, "CHARBUF", [item.text for item in literals(node)], node.modifier)(value)


def _about_path(node: Check, event_type: str | None) -> Check:
    """Rewrite: evt.path -> the field that it is for events of the type, by which the kernel and caches know it."""
    if event_type not in ALL_EVENT_TYPES:
        return node
    field = Field(path_field(event_type))
    if isinstance(node.right, FieldValue) and node.right.field == _PATH:
        node = replace(node, right=replace(node.right, field=field))
    return replace(node, left=field) if node.left == _PATH else node


def _not(child: Folded) -> Folded:
    """Rewrite: not true -> false; not false -> true; not not A -> A."""
    if isinstance(child, bool):
        return not child
    return child.child if isinstance(child, Not) else Not(child)


def _combined(kind: type[And] | type[Or], children: Iterable[Folded]) -> Folded:
    """Rewrite: A and (B and C) -> A and B and C; A and true -> A; A and false -> false; A and A -> A.

    The same for `or`, with true and false exchanged. It also merges sets on one field: f = x or f in (y) ->
    f in (x, y), which reads the field once.
    """
    is_and = kind is And
    flat: dict[Node, None] = {}
    for child in children:
        if isinstance(child, bool):
            if child is not is_and:
                return child
            continue
        for part in child.children if isinstance(child, kind) else (child,):
            flat[part] = None
    parts = tuple(flat) if is_and else _joined(tuple(flat))
    if len(parts) > 1:
        return kind(parts)
    return parts[0] if parts else is_and


def _joined(parts: tuple[Node, ...]) -> tuple[Node, ...]:
    sets: dict[Field, list[Literal]] = {}
    positions: dict[Field, int] = {}
    result: list[Node] = []
    for part in parts:
        if not (isinstance(part, Check) and isinstance(part.left, Field) and _is_set(part)):
            result.append(part)
            continue
        if part.left not in sets:
            sets[part.left] = []
            positions[part.left] = len(result)
            result.append(part)
        sets[part.left].extend(literals(part))
    for field, items in sets.items():
        if len(items) > 1:
            result[positions[field]] = Check(field, "in", ValueList(tuple(dict.fromkeys(items))))
    return tuple(result)


def _is_set(node: Check) -> bool:
    if node.modifier is not None or not isinstance(node.right, Literal | ValueList):
        return False
    return node.operator in ("=", "==", "in") and isinstance(node.left, Field) and node.left.name != "fd.types"
