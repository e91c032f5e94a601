"""Type checks of conditions, before they are compiled.

All problems are reported at once, each with its span. A condition without errors compiles.
Source: libsinsp filter.cpp, filter_compare.cpp; falco filter_warning_resolver.cpp.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from foundation.yaml.text import Span
from processor.compiler.operands import (
    ADDRESS_TYPES,
    FIELDS,
    NET_TYPES,
    NUMBER_TYPES,
    STRING_TYPES,
    BadLiteral,
    BadOperand,
    Shape,
    side_shape,
    transformed_field,
)
from processor.compiler.operators import (
    BYTE_OPERATORS,
    NO_FIELD_OPERATORS,
    ORDER_OPERATORS,
    TEXT_OPERATORS,
    full_match,
    predicate,
)
from processor.language.ast import (
    Check,
    FieldValue,
    Listed,
    Literal,
    Node,
    Transformer,
    ValueList,
    checks,
    deep,
    literals,
)
from processor.language.tokens import EQUALITY_OPERATORS, IN_INDICATORS
from schemas.catalog.fields import is_event_type, resolve_field

_TRANSFORMER_TEXT = re.compile(r"(tolower|toupper|b64|basename|len|val|join|concat|getopt)\((.+)\)", re.DOTALL)
_NOT_COMPARABLE = frozenset({"UID", "GID", "FD32", "PID32", "SIGSET", "DYN"})
"""Types of raw arguments that Falco compares with nothing."""
_SIMPLE_REGEX = re.compile(r"(?P<start>\^|\.[*+?])?[^\\^$.|?*+()\[\]{}]*(?P<end>\$|\.[*+?])?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ConditionProblem:
    """An error or a warning in a condition."""

    message: str
    span: Span
    is_error: bool = True
    is_unknown: bool = False
    """True if the field or event type does not exist: skip-if-unknown-filter makes it a warning."""


def check(condition: Node) -> list[ConditionProblem]:
    """Return all problems of a condition with macros resolved; spans inside a macro are offsets in its own text."""
    with deep():
        return [problem for node in checks(condition) for problem in _of_check(node)]


def errors(condition: Node) -> list[ConditionProblem]:
    """Return only the problems that prevent compilation."""
    return [problem for problem in check(condition) if problem.is_error]


def _error(message: str, span: Span, *, unknown: bool = False) -> ConditionProblem:
    return ConditionProblem(message, span, is_unknown=unknown)


def _warning(message: str, span: Span) -> ConditionProblem:
    return ConditionProblem(message, span, is_error=False)


def _of_check(node: Check) -> Iterator[ConditionProblem]:
    try:
        left = side_shape(node.left)
    except BadOperand as bad:
        yield _error(bad.message, bad.span, unknown=bad.unknown)
        return
    if left.spec is not None and left.spec.print_only:
        yield _error(f"field '{left.spec.name}' can only be used in outputs", node.left.span)
    if node.operator == "exists":
        return
    if node.operator == IN_INDICATORS:
        yield from _of_indicators(node, left)
        return
    refused = _operator_problem(node, left)
    if refused is not None:
        yield _error(refused, node.span)
    elif isinstance(node.right, FieldValue | Transformer):
        yield from _of_right_field(node, left, node.right)
    else:
        yield from _of_values(node, left)


def _of_indicators(node: Check, left: Shape) -> Iterator[ConditionProblem]:
    if not isinstance(node.right, Literal | ValueList):
        yield _error(f"'{IN_INDICATORS}' needs the names of lists of indicators", node.span)
    own = transformed_field(node.left)
    if own is not None and own.name == "evt.type":
        yield _error(f"filter error: '{IN_INDICATORS}' operator not supported for event types", node.left.span)
    for value in literals(node):
        indicators = value.indicators if isinstance(value, Listed) else None
        if indicators is None:
            yield _error(f"there is no list of indicators '{value.text}' here", value.span)
        elif left.kind not in STRING_TYPES and not (
            indicators.kind == "address" and (left.kind in ADDRESS_TYPES or left.kind in NET_TYPES)
        ):
            message = (
                f"filter error: the list '{value.text}' has entries of kind {indicators.kind}, the left side has type"
            )
            yield _error(f"{message} '{_type_text(left)}'", value.span)


def _operator_problem(node: Check, left: Shape) -> str | None:
    operator = node.operator
    kind = left.kind
    if left.is_list and operator not in ("in", "intersects"):
        return f"filter error: '{operator}' operator not supported for list filters"
    if kind in STRING_TYPES:
        return _refusal(operator, "string") if operator in BYTE_OPERATORS else None
    if kind == "BYTEBUF":
        refused = operator in TEXT_OPERATORS or operator in ORDER_OPERATORS
        return _refusal(operator, "buffer") if refused else None
    if kind in ADDRESS_TYPES or kind in NET_TYPES:
        if operator in EQUALITY_OPERATORS:
            return None
        if node.modifier is not None:
            return f"filter error: '{operator}' with modifier not supported for ip address and network filters"
        return _refusal(operator, "ip address and network")
    if kind == "BOOL":
        return None if operator in EQUALITY_OPERATORS else _refusal(operator, "numeric")
    if kind in NUMBER_TYPES and kind not in _NOT_COMPARABLE:
        return None if operator in EQUALITY_OPERATORS or operator in ORDER_OPERATORS else _refusal(operator, "numeric")
    return f"filter error: '{operator}' operator not supported for type '{kind}'"


def _refusal(operator: str, family: str) -> str:
    return f"filter error: '{operator}' operator not supported for {family} filters"


def _of_right_field(node: Check, left: Shape, right: FieldValue | Transformer) -> Iterator[ConditionProblem]:
    if node.operator in NO_FIELD_OPERATORS:
        yield _error(f"operator '{node.operator.upper()}' doesn't support right-hand side fields", right.span)
        return
    try:
        shape = side_shape(right)
    except BadOperand as bad:
        yield _error(bad.message, bad.span, unknown=bad.unknown)
        return
    own, other = transformed_field(node.left), transformed_field(right)
    if own is not None and own.no_rhs:
        yield _error(f"field '{own.name}' doesn't support right-hand side fields", node.left.span)
    elif other is not None and other.no_rhs and other.name not in FIELDS:
        yield _error(f"field '{other.name}' can't be used as a right-hand side field", right.span)
    elif (shape.kind, shape.is_list) != (left.kind, left.is_list):
        name = f"field '{own.name}'" if own is not None else "the left-hand side"
        of_other = f" field '{other.name}'" if other is not None else ""
        yield _error(
            f"{name} has type '{_type_text(left)}' while the right-hand side{of_other} has incompatible type "
            f"'{_type_text(shape)}'",
            right.span,
        )


def _type_text(shape: Shape) -> str:
    return f"{shape.kind} (list)" if shape.is_list else shape.kind


def _of_values(node: Check, left: Shape) -> Iterator[ConditionProblem]:
    broken = False
    for value in literals(node):
        single = "in" if node.operator in ("in", "intersects") else node.operator
        try:
            predicate(single, left.kind, (value.text,))
            if single == "regex":
                full_match(value.text)
        except BadLiteral as bad:
            broken = True
            yield _error(f"filter error: {bad}", value.span)
            continue
        yield from _of_value(node, left, value)
    own = transformed_field(node.left)
    if not broken and own is not None and own.name == "evt.type":
        yield from _of_event_types(node)


def _of_event_types(node: Check) -> Iterator[ConditionProblem]:
    """Yield errors for values that are no event types, whatever the operator and the transformers are."""
    for value in literals(node):
        if value.text and not is_event_type(value.text):
            yield _error(f"unknown event type {value.text}", value.span, unknown=True)


def _of_value(node: Check, left: Shape, value: Literal) -> Iterator[ConditionProblem]:
    text = value.text
    if left.kind not in STRING_TYPES:
        return
    if resolve_field(text.strip()) is not None:
        yield _warning(
            f"'{text}' may be a valid field misused as a const string value: compare with val({text.strip()})",
            value.span,
        )
    elif (match := _TRANSFORMER_TEXT.fullmatch(text.strip())) and resolve_field(match.group(2).strip()) is not None:
        yield _warning(f"'{text}' may be a valid field transformer misused as a const string value", value.span)
    elif node.operator == "regex" and (simpler := simpler_operator(text)) is not None:
        yield _warning(
            f"regex check with '{text}' may be optimized with simpler operators such as '{simpler}'", value.span
        )


def simpler_operator(pattern: str) -> str | None:
    """Return an operator that can replace a regular expression for whole values; None if Falco suggests none."""
    match = _SIMPLE_REGEX.fullmatch(pattern)
    if match is None:
        return None
    before, after = (match[side] not in (None, "^", "$") for side in ("start", "end"))
    if before and after:
        return "contains"
    return "endswith" if before else "startswith" if after else "="
