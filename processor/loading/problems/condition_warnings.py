"""Warnings about conditions: comparisons with <NA>, deprecated fields.

Source: falco filter_warning_resolver.cpp, falco_load_result.cpp.
"""

from collections.abc import Iterator
from itertools import chain

from processor.language.ast import Check, Field, fields_in, literals
from processor.loading.problems.model import ProblemCode
from schemas.yaml.excerpt import Span

DEPRECATED_FIELDS = (
    "evt.dir",
    "evt.latency",
    "evt.latency.s",
    "evt.latency.ns",
    "evt.latency.human",
    "evt.wait_latency",
)
_NA = "<NA>"
_UNSAFE_FAMILIES = ("ka.", "jevt.")
_EQUALITY = frozenset({"=", "==", "!=", "in", "intersects", "pmatch"})
_DIRECTION = (
    "due to the drop of enter events, 'evt.dir = <' always evaluates to true, and 'evt.dir = >' always evaluates to "
    "false. The rule expression can be simplified by removing the condition on 'evt.dir'"
)
_LATENCY = "field is not available due to the drop of enter events."
_UNSAFE = "comparing a field value with <NA> is unsafe: a missing value equals nothing"


def warnings_of(check: Check) -> Iterator[tuple[ProblemCode, str, Span, str]]:
    """Yield the warnings of one check: code, message, span and hint.

    Args:
        check: the check; its fields need not exist.
    """
    last = next(reversed(list(fields_in(check.left))), None)
    if last is not None and last.name.startswith(_UNSAFE_FAMILIES) and check.operator in _EQUALITY:
        for value in literals(check):
            if value.text == _NA:
                yield ProblemCode.LOAD_UNSAFE_NA_CHECK, _UNSAFE, value.span, f"use '{last.name} exists'"
    for field in fields_of(check):
        if field.name in DEPRECATED_FIELDS:
            message = _DIRECTION if field.name == "evt.dir" else _LATENCY
            yield ProblemCode.LOAD_DEPRECATED_ITEM, message, field.span, f"remove the check of '{field.name}'"


def fields_of(check: Check) -> Iterator[Field]:
    """Yield the fields of both sides, except those in a transformer's list of arguments."""
    return chain(fields_in(check.left), fields_in(check.right))
