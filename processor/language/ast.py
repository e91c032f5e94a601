"""The tree of a condition.

Nodes are values: two trees are equal where they say the same, wherever the text stood. So the span,
the offsets of a node's first character and of the one after its last in the text it was parsed from,
is left out of comparison.
"""

from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Literal as OneOf
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]
Modifier: TypeAlias = OneOf["oneof", "anyof", "allof"]

NO_SPAN: Span = (0, 0)
"""Of nodes that nobody wrote."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an event: proc.name, evt.arg[0], proc.env[PATH]."""

    name: str
    argument: str | None = None
    """The text between the brackets, unescaped; None without brackets."""
    span: Span = attribute(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class Literal:
    """A value as written, unescaped: text, number, address; what it means depends on the field it meets."""

    text: str
    quoted: bool = attribute(default=False, compare=False)
    """How it was written; 22 and "22" mean the same, so trees don't differ by it."""
    span: Span = attribute(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class ValueList:
    """The values at the right of a list operator or of a modifier."""

    items: tuple[Literal, ...]
    span: Span = attribute(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class ArgumentList:
    """A list among the arguments of a transformer, as in join("-", (fd.name, "x"))."""

    items: tuple["Field | Transformer | Literal", ...]
    span: Span = attribute(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class Transformer:
    """A function of fields and values: tolower(proc.name), getopt(proc.aargs, "nt:")[t]."""

    name: str
    arguments: tuple["Field | Transformer | Literal | ArgumentList", ...]
    argument: str | None = None
    """The text between brackets after the closing parenthesis; None without brackets."""
    span: Span = attribute(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class FieldValue:
    """val(field) at the right of an operator: the field's value, not the text of its name."""

    field: Field
    argument: str | None = None
    """The text between brackets after the parenthesis, which the grammar takes and no field allows."""
    span: Span = attribute(default=NO_SPAN, compare=False)


Left: TypeAlias = Field | Transformer
Right: TypeAlias = Literal | ValueList | FieldValue | Transformer
Argument: TypeAlias = Field | Transformer | Literal | ArgumentList


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison; exists has no right side.

    The operator is as written, so `=` and `==` differ here and mean the same. A list operator or a
    modifier has a ValueList at its right, or one Literal where a bare name stood (a list that nobody
    defined counts as the one value), or for list operators a FieldValue or Transformer.
    """

    left: Left
    operator: str
    right: Right | None = None
    modifier: Modifier | None = None
    span: Span = attribute(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class MacroRef:
    """The name of a macro that isn't resolved yet."""

    name: str
    span: Span = attribute(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class Macro:
    """A resolved macro: its body stands in its place, its name stays known so that it can be shared.

    The span is that of the name where it was used; spans inside the body count in the macro's own text.
    """

    name: str
    body: "Node"
    span: Span = attribute(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    """True where the child is not true."""

    child: "Node"
    span: Span = attribute(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class And:
    """True where all children are; there are at least two."""

    children: tuple["Node", ...]
    span: Span = attribute(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class Or:
    """True where one child is; there are at least two."""

    children: tuple["Node", ...]
    span: Span = attribute(default=NO_SPAN, compare=False)


Node: TypeAlias = And | Or | Not | Check | Macro | MacroRef
"""What can stand where a condition stands."""
