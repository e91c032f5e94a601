"""The syntax tree of a condition.

Nodes are values: two trees are equal if they mean the same, wherever their text was. A span, which is the
offset of a node's first character and the offset after its last one in the parsed text, is therefore
excluded from comparison.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from dataclasses import field as attribute
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from typing import Literal as OneOf

from foundation.yaml.text import Span

if TYPE_CHECKING:
    from processor.indicators.lists import IndicatorList

_LIMIT = 30_000

EXPRESSION_DEPTH = 30
"""Levels of a tree per Python expression; Python's own parser allows 200 nested parentheses."""


class _RaisedLimit:
    """The limit is one for all threads: the first to need more raises it, and the last one restores it.

    If each restored what it found, two that overlap could leave it raised, and what relies on it, such as the decoding
    of JSON, would accept more levels from then on.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                self._before = sys.getrecursionlimit()
                sys.setrecursionlimit(max(self._before, _LIMIT))
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                sys.setrecursionlimit(self._before)


_RAISED = _RaisedLimit()


def deep() -> AbstractContextManager[None]:
    """Raise the recursion limit while a tree is walked, on any number of threads."""
    return _RAISED


Modifier: TypeAlias = OneOf["oneof", "anyof", "allof"]

NO_SPAN: Span = (0, 0)
"""The span of generated nodes."""

_Class = TypeVar("_Class", bound=type)


class _Tree:
    """Has room for the hash of a node, which takes a walk through all that is below it."""

    __slots__ = ("_hash",)


def _hashed_once(cls: _Class) -> _Class:
    """Make the nodes of a class remember their hash."""
    compute = cls.__hash__

    def hash_of(self: Any) -> int:
        try:
            return self._hash  # type: ignore[no-any-return]
        except AttributeError:
            value: int = compute(self)  # type: ignore[call-arg]
            object.__setattr__(self, "_hash", value)
            return value

    cls.__hash__ = hash_of  # type: ignore[assignment]
    return cls


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an event: proc.name, evt.arg[0], proc.env[PATH]."""

    name: str
    argument: str | None = None
    """The text between the brackets, unescaped; None without brackets."""
    span: Span = attribute(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class Literal:
    """An unescaped value such as text, a number or an address; the field it is compared with decides its meaning."""

    text: str
    quoted: bool = attribute(default=False, compare=False)
    """True if it was quoted; 22 and "22" mean the same, so this is excluded from comparison."""
    span: Span = attribute(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class Listed(Literal):
    """The name of a list of indicators, with the list: its entries may change while rules use it."""

    indicators: "IndicatorList | None" = attribute(default=None, compare=False, repr=False)


@_hashed_once
@dataclass(frozen=True, slots=True)
class ValueList(_Tree):
    """The values on the right of a list operator or a modifier."""

    items: tuple[Literal, ...]
    span: Span = attribute(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class ArgumentList:
    """A list passed to a transformer, as in join("-", (fd.name, "x"))."""

    items: tuple["Field | Transformer | Literal", ...]
    span: Span = attribute(default=NO_SPAN, compare=False)


@_hashed_once
@dataclass(frozen=True, slots=True)
class Transformer(_Tree):
    """A function of fields and values: tolower(proc.name), getopt(proc.aargs, "nt:")[t]."""

    name: str
    arguments: tuple["Field | Transformer | Literal | ArgumentList", ...]
    argument: str | None = None
    """The text between brackets after the closing parenthesis; None without brackets."""
    span: Span = attribute(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class FieldValue:
    """val(field) on the right of an operator: the field's value, not the text of its name."""

    field: Field
    argument: str | None = None
    """The text between brackets after the parenthesis, which the grammar accepts but no field allows."""
    span: Span = attribute(default=NO_SPAN, compare=False)


Left: TypeAlias = Field | Transformer
Right: TypeAlias = Literal | ValueList | FieldValue | Transformer
Argument: TypeAlias = Field | Transformer | Literal | ArgumentList


@_hashed_once
@dataclass(frozen=True, slots=True)
class Check(_Tree):
    """One comparison; exists has no right side.

    The operator is as written: `=` and `==` are distinct here although they mean the same. The right side
    of a list operator or a modifier is a ValueList, or one Literal for a bare name (an undefined list
    counts as that one value), or, for list operators, a FieldValue or Transformer.
    """

    left: Left
    operator: str
    right: Right | None = None
    modifier: Modifier | None = None
    span: Span = attribute(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class MacroRef:
    """The name of a macro that is not resolved yet."""

    name: str
    span: Span = attribute(default=NO_SPAN, compare=False)


@_hashed_once
@dataclass(frozen=True, slots=True)
class Macro(_Tree):
    """A resolved macro: its body, and its name so that the body can be shared.

    The span is that of the name where it is used; spans inside the body are offsets in the macro's own text.
    """

    name: str
    body: "Node"
    span: Span = attribute(default=NO_SPAN, compare=False)


@_hashed_once
@dataclass(frozen=True, slots=True)
class Not(_Tree):
    """True if the child is not true."""

    child: "Node"
    span: Span = attribute(default=NO_SPAN, compare=False)


@_hashed_once
@dataclass(frozen=True, slots=True)
class And(_Tree):
    """True if all children are true; there are at least two."""

    children: tuple["Node", ...]
    span: Span = attribute(default=NO_SPAN, compare=False)


@_hashed_once
@dataclass(frozen=True, slots=True)
class Or(_Tree):
    """True if any child is true; there are at least two."""

    children: tuple["Node", ...]
    span: Span = attribute(default=NO_SPAN, compare=False)


@_hashed_once
@dataclass(frozen=True, slots=True)
class Ancestor(_Tree):
    """True if the condition is true of some known ancestor of the process, as if that were the event's process."""

    condition: "Node"
    span: Span = attribute(default=NO_SPAN, compare=False)


Node: TypeAlias = And | Or | Not | Ancestor | Check | Macro | MacroRef
"""Any condition."""

_Value = TypeVar("_Value")


def children(node: Node) -> tuple[Node, ...]:
    """Return the conditions directly inside a node: also a macro's body and an ancestor's; none for a check."""
    if isinstance(node, Check):
        # Most nodes are checks.
        return ()
    if isinstance(node, (And, Or)):
        return node.children
    if isinstance(node, Macro):
        return (node.body,)
    if isinstance(node, Not):
        return (node.child,)
    return (node.condition,) if isinstance(node, Ancestor) else ()


def with_children(node: Node, new: tuple[Node, ...]) -> Node:
    """Return a node with other children; the node itself if they are the same objects."""
    if all(one is other for one, other in zip(new, children(node), strict=True)):
        return node
    if isinstance(node, Not | Ancestor):
        return type(node)(new[0], node.span)
    if isinstance(node, Macro):
        return Macro(node.name, new[0], node.span)
    return And(new, node.span) if isinstance(node, And) else Or(new, node.span)


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all conditions inside it, each before its children, without recursion."""
    todo = [node]
    while todo:
        current = todo.pop()
        yield current
        todo.extend(reversed(children(current)))


def checks(node: Node) -> Iterator[Check]:
    """Yield all checks in a condition, in order."""
    return (each for each in walk(node) if isinstance(each, Check))


def fold(node: Node, combine: Callable[[Node, tuple[_Value, ...]], _Value]) -> _Value:
    """Compute a value from the leaves up. combine: takes a node and the values of its children."""
    # map instead of a comprehension: one Python frame per level.
    return combine(node, tuple(map(partial(fold, combine=combine), children(node))))


def fields_in(side: Field | Right | ArgumentList | None) -> Iterator[Field]:
    """Yield the fields of an operand, except those in a transformer's list of arguments, as Falco does."""
    if isinstance(side, Field):
        yield side
    elif isinstance(side, FieldValue):
        yield side.field
    elif isinstance(side, Transformer):
        for argument in side.arguments:
            yield from fields_in(argument)


def literals(check: Check) -> tuple[Literal, ...]:
    """Return the literal values on the right of a check."""
    if isinstance(check.right, ValueList):
        return check.right.items
    return (check.right,) if isinstance(check.right, Literal) else ()


def indicators_in(check: Check) -> "tuple[IndicatorList, ...]":
    """Return the lists of indicators on the right of a check."""
    return tuple(each.indicators for each in literals(check) if isinstance(each, Listed) and each.indicators)
