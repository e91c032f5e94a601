"""Exceptions of rules: reads them, validates them, and converts them to conditions.

`fields: proc.name, values: [a, b]` becomes `(proc.name in (a, b))`, and lists of fields become
`((f = a and g = b) or (f = c and g = d))`; the rule's condition becomes `(condition) and not` each of them.

Source: falco rule_loader_reader.cpp, rule_loader_collector.cpp, rule_loader_compiler.cpp.
"""

import re
from collections.abc import Callable, Sequence

from foundation.text import did_you_mean
from foundation.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode, is_null
from foundation.yaml.text import Piece
from processor.language.ast import And
from processor.language.ast import Node as Condition
from processor.language.tokens import LIST_OPERATORS, MODIFIERS, OPERATORS, STRING_OPERATORS
from processor.loading.condition_checks import operator_hint
from processor.loading.definitions import (
    ExceptionDefinition,
    ExceptionValue,
    ItemLocation,
    invalid,
    problem,
    reject,
    scalar,
)
from processor.loading.items.macros import quote_item
from processor.loading.problems import Problem, ProblemCode
from processor.rule import RuleException

_MODIFIED = re.compile(rf"({'|'.join(STRING_OPERATORS)}) ({'|'.join(MODIFIERS)})")
_SCALAR_COMPS = "When fields is a single value, comps must be one of (in, pmatch, intersects) or a modifier operator"

FieldCheck = Callable[[str], str | None]
"""Returns the error of a field or a transformer of one, as rules write it; None if it is valid."""


def read_exceptions(
    item: MappingNode, rule: ItemLocation, warn: Callable[[Problem], None], *, append: bool
) -> list[ExceptionDefinition]:
    """Read the exceptions of a rule item.

    Args:
        item: the rule's item.
        rule: the rule's location.
        warn: receives warnings.
        append: whether they are appended to those of an earlier rule; then fields may be missing.

    Raises:
        ItemRejected: the structure is invalid.
    """
    node = item.get("exceptions")
    if node is None or is_null(node):
        return []
    if not isinstance(node, SequenceNode):
        raise invalid("Rule exceptions must be a sequence", rule, node, "write them as a list: '- name: ...'")
    found: list[ExceptionDefinition] = []
    names: set[str] = set()
    for entry in node.items:
        spot = ItemLocation(entry, "exception")
        if not isinstance(entry, MappingNode):
            raise invalid("Rule exception must be a mapping", spot, entry, "each has name, fields, comps and values")
        name = scalar(entry, "name", spot).value
        spot = ItemLocation(entry, "exception", name)
        if name in names:
            message = f"Multiple definitions of exception '{name}' in the same rule"
            warn(problem(ProblemCode.LOAD_EXCEPTION_NAME_NOT_UNIQUE, message, spot, entry.get("name")))
        names.add(name)
        found.append(_read_exception(entry, name, spot, warn, append=append))
    return found


def _read_exception(
    entry: MappingNode, name: str, spot: ItemLocation, warn: Callable[[Problem], None], *, append: bool
) -> ExceptionDefinition:
    fields = entry.get("fields")
    if fields is None and not append:
        raise invalid("Item has no mapping for key 'fields'", spot, hint="add 'fields: [...]'")
    comps = entry.get("comps")
    result = ExceptionDefinition(
        name,
        spot,
        _entry(fields, spot) if fields is not None else ExceptionValue(),
        _stripped(_entry(comps, spot)) if comps is not None else ExceptionValue(),
        [],
    )
    values = entry.get("values")
    if values is None:
        if append:
            hint = did_you_mean("values", [key.value for key in entry.names()])
            message = "Overriding/appending exception with no values"
            warn(problem(ProblemCode.LOAD_APPEND_NO_VALUES, message, spot, entry.get("name"), hint))
        return result
    if not isinstance(values, SequenceNode):
        raise invalid("Rule exception values must be a sequence", spot, values, "write them as a list of lists")
    for value in values.items:
        result.values.append((_entry(value, spot), Piece("", value)))
    return result


def _entry(node: Node, spot: ItemLocation) -> ExceptionValue:
    if isinstance(node, SequenceNode):
        return ExceptionValue(items=tuple(_entry(item, spot) for item in node.items))
    if isinstance(node, ScalarNode) and not node.is_null:
        if not node.value:
            raise invalid("Value must be non-empty", spot, node, "write the text to compare with")
        return ExceptionValue(node.value)
    return ExceptionValue()


def _stripped(comps: ExceptionValue) -> ExceptionValue:
    if comps.items is not None:
        return ExceptionValue(items=tuple(map(_stripped, comps.items)))
    return ExceptionValue(comps.text.strip(" \t\r\n"))


def validate(exception: ExceptionDefinition, check_field: FieldCheck | None) -> None:
    """Check that fields and comparisons match, and set missing comparisons. Raises ItemRejected.

    check_field: None if the rule's source, and therefore its fields, are unknown.
    """
    spot = exception.spot
    fields = exception.fields
    if fields.items is not None:
        if not exception.comps.is_given:
            exception.comps = ExceptionValue(items=(ExceptionValue("="),) * len(fields.items))
        comps = exception.comps.items or ()
        if len(fields.items) != len(comps):
            raise _misfit(
                "Fields and comps lists must have equal length", spot, "comps", "write one comparison per field"
            )
        for comp in comps:
            if comp.text not in OPERATORS and not _MODIFIED.fullmatch(comp.text):
                message = f"'{comp.text}' is not a supported comparison operator"
                raise _misfit(message, spot, "comps", operator_hint(comp.text))
        _check_fields([entry.text for entry in fields.items], spot, check_field)
        return
    if not exception.comps.is_given:
        exception.comps = ExceptionValue("in")
    if exception.comps.is_list:
        raise _misfit("Fields and comps must both be strings", spot, "comps", "write fields as a list too")
    single = exception.comps.text
    if single not in LIST_OPERATORS and not _MODIFIED.fullmatch(single):
        raise _misfit(f"{_SCALAR_COMPS} (e.g. startswith oneof)", spot, "comps", "or write fields as a list: [field]")
    _check_fields([fields.text], spot, check_field)


def _check_fields(names: list[str], spot: ItemLocation, check_field: FieldCheck | None) -> None:
    if check_field is None:
        return
    for name in names:
        hint = check_field(name)
        if hint is not None:
            raise _misfit(f"'{name}' is not a supported filter field", spot, "fields", hint)


def _misfit(message: str, spot: ItemLocation, key: str, hint: str) -> Exception:
    node = spot.node.get(key) if isinstance(spot.node, MappingNode) else None
    return reject(message, spot, node, code=ProblemCode.LOAD_ERR_VALIDATE, hint=hint)


def as_declared(exception: ExceptionDefinition) -> RuleException:
    """Return what a valid exception compares, without its values."""
    fields, comps = (
        (entry.text,) if entry.items is None else tuple(item.text for item in entry.items)
        for entry in (exception.fields, exception.comps)
    )
    return RuleException(exception.name, fields, comps)


def with_exceptions(condition: list[Piece], exceptions: list[ExceptionDefinition]) -> list[Piece]:
    """Return a rule's condition with its exceptions; every piece refers to the values that it was made from.

    Raises ItemRejected if values do not match their fields.
    """
    if not exceptions:
        return condition
    first = condition[0]
    pieces = [Piece("(", first.node), *condition, Piece(")", first.node)]
    for exception in exceptions:
        parts = _scalar_condition(exception) if exception.fields.items is None else _list_condition(exception)
        if parts:
            pieces.append(Piece(" and not ", parts[0].node))
            pieces.extend(parts)
    return pieces


def split_exceptions(condition: Condition, names: Sequence[str]) -> tuple[Condition, tuple[Condition, ...]]:
    """Split a rule's tree into its own condition and the negated condition of each exception.

    names: the exceptions that have values, in order.
    """
    if not names or not isinstance(condition, And) or len(condition.children) <= len(names):
        return condition, ()
    own, excepted = condition.children[: -len(names)], condition.children[-len(names) :]
    return own[0] if len(own) == 1 else And(own, condition.span), excepted


def _scalar_condition(exception: ExceptionDefinition) -> list[Piece]:
    pieces: list[Piece] = []
    for value, made in exception.values:
        if value.is_list:
            message = "Expected values array to contain a list of strings"
            hint = "for a single field, values is a list of texts; for a list of fields, a list of lists"
            raise reject(message, exception.spot, made.node, code=ProblemCode.LOAD_ERR_VALIDATE, hint=hint)
        before = ", " if pieces else f"({exception.fields.text} {exception.comps.text} ("
        pieces.append(Piece(before + quote_item(value.text), made.node))
    if pieces:
        pieces.append(Piece("))", pieces[-1].node))
    return pieces


def _list_condition(exception: ExceptionDefinition) -> list[Piece]:
    fields = exception.fields.items or ()
    comps = exception.comps.items or ()
    pieces: list[Piece] = []
    for value, made in exception.values:
        values = value.items or ()
        if len(fields) != len(values):
            message = "Fields and values lists must have equal length"
            hint = f"each entry of values is a list of {len(fields)}"
            raise reject(message, exception.spot, made.node, code=ProblemCode.LOAD_ERR_VALIDATE, hint=hint)
        checks = [
            f" {field.text} {comp.text} {_operand(part, comp.text)}"
            for field, comp, part in zip(fields, comps, values, strict=False)
        ]
        pieces.append(Piece(("(" if not pieces else " or ") + "(" + " and ".join(checks) + ")", made.node))
    if pieces:
        pieces.append(Piece(")", pieces[-1].node))
    return pieces


def _operand(value: ExceptionValue, comp: str) -> str:
    if value.items is not None:
        return f"({', '.join(quote_item(item.text) for item in value.items)})"
    if comp in LIST_OPERATORS or _MODIFIED.fullmatch(comp):
        return value.text if value.text.startswith("(") else f"({value.text})"
    return quote_item(value.text)
