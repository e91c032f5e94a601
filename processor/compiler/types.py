"""The types of operands, and the errors of operands that have none.

Both the checks and code generation use this module, so that every condition that passes can be generated.
"""

from dataclasses import dataclass

from processor.compiler.literals import STRING_TYPES
from processor.language.ast import Argument as Side
from processor.language.ast import ArgumentList, Field, FieldValue, Transformer
from processor.language.tokens import SpanError
from schemas.catalog.fields import ARGUMENT_TYPES, FieldSpec, field_problem, resolve_field

_TEXT_OR_BYTES = STRING_TYPES | {"BYTEBUF"}
_TAKES = {
    "tolower": STRING_TYPES,
    "toupper": STRING_TYPES,
    "b64": frozenset({"CHARBUF", "BYTEBUF"}),
    "basename": STRING_TYPES,
    "len": _TEXT_OR_BYTES,
}


class BadOperand(SpanError):
    """Raised for a field or transformer that is unknown or used wrongly."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The type of an operand and whether it is a list."""

    kind: str
    is_list: bool = False
    spec: FieldSpec | None = None
    argument: str | None = None

    @property
    def field(self) -> FieldSpec:
        """The field. Raises TypeError for an operand without one, which has no access."""
        if self.spec is None:
            raise TypeError("an operand without a field has no access")
        return self.spec


def field_text(field: Field) -> str:
    """Return a field as rules write it."""
    return field.name if field.argument is None else f"{field.name}[{field.argument}]"


def field_shape(field: Field) -> Shape:
    """Return the type of a field. Raises BadOperand if it is unknown, or its argument is wrong."""
    found = resolve_field(field_text(field)) if field.argument != "" else None
    if found is None:
        text = field_text(field)
        unknown = resolve_field(field.name) is None and field_problem(field.name) == f"unknown field '{field.name}'"
        message = f"filter_check called with nonexistent field {text}" if unknown else field_problem(text) or text
        raise BadOperand(message, field.span, unknown=unknown)
    spec, argument = found
    kind = spec.type
    if spec.name == "evt.rawarg" and argument is not None:
        kind = ARGUMENT_TYPES[argument][0]
    return Shape(kind, spec.is_list, spec, argument)


def side_shape(side: Side | FieldValue) -> Shape:
    """Return the type of a field, a literal or a transformer. Raises BadOperand."""
    if isinstance(side, FieldValue):
        if side.argument is not None:
            raise BadOperand("transformer 'val' does not support field arguments", side.span)
        return field_shape(side.field)
    if isinstance(side, Field):
        return field_shape(side)
    if isinstance(side, Transformer):
        return _transformer_shape(side)
    if isinstance(side, ArgumentList):
        for item in side.items:
            side_shape(item)
        return Shape("CHARBUF", is_list=True)
    return Shape("CHARBUF")


def transformed_field(side: Side | FieldValue) -> FieldSpec | None:
    """Return the field that an operand is, with or without transformers of one value around it; None if it is none."""
    while isinstance(side, Transformer) and side.name in _TAKES:
        side = side.arguments[0]
    return side_shape(side).spec


def _transformer_shape(side: Transformer) -> Shape:
    if side.argument is not None and side.name != "getopt":
        raise BadOperand(f"transformer '{side.name}' does not support field arguments", side.span)
    if side.name in _TAKES:
        return _simple_shape(side)
    if side.name == "join":
        return _join_shape(side)
    if side.name == "concat":
        return _concat_shape(side)
    if side.name == "getopt":
        return _getopt_shape(side)
    raise BadOperand(f"unknown transformer '{side.name}'", side.span)


def _simple_shape(side: Transformer) -> Shape:
    if len(side.arguments) != 1:
        raise BadOperand(f"transformer '{side.name}' takes one argument", side.span)
    inner = side.arguments[0]
    shape = side_shape(inner)
    if shape.spec is not None and shape.spec.no_transformer:
        raise BadOperand(f"field '{shape.spec.name}' does not support transformers", side.span)
    if shape.kind not in _TAKES[side.name] and not (side.name == "len" and shape.is_list):
        what = "list field" if shape.is_list else "field"
        of = f" applied on {what} '{field_text(inner)}'" if isinstance(inner, Field) else ""
        raise BadOperand(
            f"can't add field transformer: type '{shape.kind}' is not supported by '{side.name}' transformer{of}",
            side.span,
        )
    return Shape("UINT64") if side.name == "len" else Shape(shape.kind, shape.is_list)


def _join_shape(side: Transformer) -> Shape:
    if len(side.arguments) != 2:
        raise BadOperand("join() requires exactly 2 arguments: separator and list", side.span)
    separator, items = (side_shape(argument) for argument in side.arguments)
    if separator.is_list or separator.kind not in STRING_TYPES:
        raise BadOperand("join() first argument (separator) must be a single value, not a list", side.span)
    if not items.is_list:
        raise BadOperand("join() second argument must be a list", side.span)
    return Shape("CHARBUF")


def _concat_shape(side: Transformer) -> Shape:
    if len(side.arguments) < 2:
        raise BadOperand("concat() requires at least 2 arguments", side.span)
    for argument in side.arguments:
        shape = side_shape(argument)
        if shape.is_list or shape.kind not in STRING_TYPES:
            raise BadOperand("concat() arguments must be strings", side.span)
    return Shape("CHARBUF")


def _getopt_shape(side: Transformer) -> Shape:
    if len(side.arguments) != 2:
        raise BadOperand("getopt() requires exactly 2 arguments: args list and optstring", side.span)
    words, known = (side_shape(argument) for argument in side.arguments)
    if not words.is_list:
        raise BadOperand("getopt() first argument must be a list", side.span)
    if known.is_list:
        raise BadOperand("getopt() second argument (optstring) must be a single value", side.span)
    if {words.kind, known.kind} != {"CHARBUF"}:
        raise BadOperand("getopt() arguments must be strings", side.span)
    if side.argument is None:
        return Shape("CHARBUF", is_list=True)
    if len(side.argument) != 1:
        raise BadOperand("getopt() field argument must be a single option character", side.span)
    return Shape("CHARBUF")
