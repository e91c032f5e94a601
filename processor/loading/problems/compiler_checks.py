"""Checks of conditions and outputs by the compiler and the formatter, as loading problems."""

from dataclasses import dataclass

from processor.compiler import checks
from processor.compiler.values.types import field_text
from processor.correlation.window_fields import FORMS, BadWindowToken, tokens_of, without_tokens
from processor.language.ast import Check, Field, fields_in, literals
from processor.language.errors import ConditionError
from processor.language.parser import parse
from processor.loading.problems.condition_warnings import DEPRECATED_FIELDS, fields_of, warnings_of
from processor.loading.problems.hints import did_you_mean
from processor.loading.problems.model import ProblemCode
from processor.output.tokens import output_errors, tokens_in
from schemas.catalogue.fields import ARGUMENT_TYPES, EVENTS, FIELDS, NUMBERED, resolve_field
from schemas.catalogue.sources import has_field
from schemas.yaml.excerpt import Span

_LISTED = "'lanner fields' lists the fields"
_BY_NAME = {"user.uid": "user.name", "user.loginuid": "user.loginname", "group.gid": "group.name"}
_RANGES = {"fd.ip": "fd.net", "fd.cip": "fd.cnet", "fd.sip": "fd.snet", "fd.lip": "fd.lnet", "fd.rip": "fd.rnet"}
_ADDRESSES = {net: address for address, net in _RANGES.items()}
_OWN_WARNINGS = (ProblemCode.LOAD_DEPRECATED_ITEM, ProblemCode.LOAD_UNSAFE_NA_CHECK)


@dataclass(frozen=True, slots=True)
class CompilerProblem:
    """A problem of a check or an output, with its span in the text."""

    code: ProblemCode
    message: str
    span: Span
    hint: str = ""
    is_unknown: bool = False
    """Whether the field or event type is unknown: skip-if-unknown-filter makes it a warning."""


class Checker:
    """Checks conditions and caches the problems: many rules share macros, and each file repeats all checks."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, tuple[Check, tuple[CompilerProblem, ...]]] = {}

    def findings(self, check: Check) -> tuple[CompilerProblem, ...]:
        """Return all problems of one check."""
        known = self._known.get(id(check))
        if known is None:
            # Store the check too: otherwise its id could be reused.
            known = self._known[id(check)] = (check, tuple(_findings(check)))
        return known[1]


def _findings(check: Check) -> list[CompilerProblem]:
    found = [CompilerProblem(code, message, span, hint) for code, message, span, hint in warnings_of(check)]
    for field in fields_of(check):
        # Named arguments are written with a dot; brackets contain an argument's number.
        if field.name in NUMBERED and field.argument is not None and not field.argument.isdecimal():
            message = f"{field.argument} is not a valid number"
            hint = f"write '{field.name}.{field.argument}'"
            found.append(CompilerProblem(ProblemCode.LOAD_ERR_COMPILE_CONDITION, message, field.span, hint))
            return found
    for problem in checks.check(check):
        code = ProblemCode[problem.code]
        if code not in _OWN_WARNINGS:
            hint = _hint(problem.message, check) if problem.is_unknown else _hint_of_value(check, problem.span)
            found.append(CompilerProblem(code, problem.message, problem.span, hint, problem.is_unknown))
    return found


def _hint(message: str, check: Check) -> str:
    word = message.rsplit(" ", 1)[-1].partition("[")[0].strip("'")
    if "event type" in message:
        return did_you_mean(word, EVENTS) or "'lanner fields' lists the event types"
    left = check.left.name if isinstance(check.left, Field) else word
    for base in ("evt.arg", "evt.rawarg"):
        if word.startswith(f"{base}."):
            return did_you_mean(word, [f"{base}.{name}" for name in ARGUMENT_TYPES]) or _LISTED
    return did_you_mean(word, FIELDS) or did_you_mean(left, FIELDS) or _LISTED


def _hint_of_value(check: Check, span: Span) -> str:
    """Return the field that a value of the wrong type was probably meant for."""
    name = check.left.name if isinstance(check.left, Field) else ""
    value = next((each.text for each in literals(check) if each.span == span), "")
    if name in _RANGES and "/" in value:
        return f"write '{_RANGES[name]}' to compare with a range of addresses"
    if name in _ADDRESSES and value and "/" not in value:
        return f"write '{_ADDRESSES[name]}' to compare with one address, or '{value}/32' for a range of one"
    if name in _BY_NAME and value and not value[0].isdigit():
        return f"write '{_BY_NAME[name]}' to compare with a name"
    return ""


def field_problem(text: str) -> str | None:
    """Return why a text is not valid on the left side of a check; None if it is.

    Args:
        text: a field or a transformer of one.
    """
    try:
        check = parse(f"{text} exists")
    except ConditionError:
        return "write a field or a transformer of one"
    if not isinstance(check, Check):
        return "write a field or a transformer of one"
    for problem in checks.check(check):
        if problem.is_error:
            return _hint(problem.message, check)
    return None


def fields_of_others(check: Check, source: str) -> list[CompilerProblem]:
    """Return a problem for each field of a check that events of a source don't have, as if it didn't exist."""
    found = []
    for field in fields_of(check):
        resolved = resolve_field(field_text(field))
        if resolved is not None and not has_field(source, resolved[0]):
            message = f"filter_check called with nonexistent field {field_text(field)}"
            code = ProblemCode.LOAD_ERR_COMPILE_CONDITION
            found.append(CompilerProblem(code, message, field.span, _not_of(source), is_unknown=True))
    return found


def _not_of(source: str) -> str:
    return f"events of source {source} don't have this field"


def output_findings(output: str, source: str | None = None) -> list[CompilerProblem]:
    """Return all problems of an output. source: of the rule's events; None for those of any source."""
    found = []
    try:
        list(tokens_of(output))
        output = without_tokens(output)
    except BadWindowToken as error:
        found.append(CompilerProblem(ProblemCode.LOAD_ERR_COMPILE_OUTPUT, error.message, error.span, FORMS))
        output = output[: error.span[0]]
    for wrong in output_errors(output):
        hint = did_you_mean(_token(output, wrong.span), FIELDS) or _LISTED
        code = ProblemCode.LOAD_ERR_COMPILE_OUTPUT
        hint = hint if output[wrong.span[0] + 1 :] else "remove it, or write a field after it"
        found.append(CompilerProblem(code, wrong.message, wrong.span, hint, wrong.unknown))
    if source is not None:
        found += _tokens_of_others(output, source)
    for field in DEPRECATED_FIELDS:
        start = output.find(field)
        if start != -1 and not output[start + len(field) : start + len(field) + 2].startswith("."):
            message = f"usage of deprecated field '{field}' has been detected in the rule output"
            hint = f"remove %{field}"
            found.append(CompilerProblem(ProblemCode.LOAD_DEPRECATED_ITEM, message, (start, start + len(field)), hint))
    return found


def _tokens_of_others(output: str, source: str) -> list[CompilerProblem]:
    found = []
    for token in tokens_in(output):
        for field in fields_in(token.side):
            resolved = resolve_field(field_text(field))
            if resolved is not None and not has_field(source, resolved[0]):
                code, message = ProblemCode.LOAD_ERR_COMPILE_OUTPUT, f"invalid formatting token {field_text(field)}"
                found.append(CompilerProblem(code, message, token.span, _not_of(source), is_unknown=True))
    return found


def _token(output: str, span: Span) -> str:
    word = output[span[0] : span[1]].lstrip("%0123456789")
    return word.split("[", 1)[0].split(" ", 1)[0]
