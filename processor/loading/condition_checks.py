"""Checks of conditions and outputs by the compiler and the formatter, as loading problems."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from foundation.text import did_you_mean
from foundation.yaml.nodes import SourceLocation
from foundation.yaml.text import Span, TracedText
from processor.compiler import checks
from processor.compiler.operands import field_text
from processor.fields.extract import is_of_process
from processor.language import tokens
from processor.language.ast import Argument as Side
from processor.language.ast import ArgumentList, Check, Field, FieldValue, Right, Transformer, fields_in, literals
from processor.language.parser import parse
from processor.language.tokens import ConditionError
from processor.loading.problems import ProblemCode
from processor.output.tokens import output_errors, tokens_in
from processor.rule import WINDOW_TOKEN_FORMS, BadWindowToken, window_tokens, without_window_tokens
from schemas.catalog.fields import ARGUMENT_TYPES, EVENTS, FIELDS, NUMBERED, has_field, resolve_field

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
_EQUALITY = tokens.EQUALITY_OPERATORS | {"pmatch"}
_DIRECTION = (
    "due to the drop of enter events, 'evt.dir = <' always evaluates to true, and 'evt.dir = >' always evaluates to "
    "false. The rule expression can be simplified by removing the condition on 'evt.dir'"
)
_LATENCY = "field is not available due to the drop of enter events."
_UNSAFE = "comparing a field value with <NA> is unsafe: a missing value equals nothing"


def warnings_of(check: Check) -> Iterator[tuple[ProblemCode, str, Span, str]]:
    """Yield the warnings of one check, whose fields need not exist: code, message, span and hint."""
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


_LISTED = "'lanner fields' lists the fields"
_BY_NAME = {"user.uid": "user.name", "user.loginuid": "user.loginname", "group.gid": "group.name"}
_RANGES = {"fd.ip": "fd.net", "fd.cip": "fd.cnet", "fd.sip": "fd.snet", "fd.lip": "fd.lnet", "fd.rip": "fd.rnet"}
_ADDRESSES = {net: address for address, net in _RANGES.items()}


@dataclass(frozen=True, slots=True)
class CompilerProblem:
    """A problem of a check or an output, with its span in the text."""

    code: ProblemCode
    message: str
    span: Span
    hint: str = ""
    is_unknown: bool = False
    """True if the field or event type is unknown: skip-if-unknown-filter makes it a warning."""


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
        code = ProblemCode.LOAD_ERR_COMPILE_CONDITION if problem.is_error else ProblemCode.LOAD_COMPILE_CONDITION
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
    """Return why a text is neither a field nor a transformer of one, as on the left of a check; None if it is."""
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
    code, message = ProblemCode.LOAD_ERR_COMPILE_CONDITION, "filter_check called with nonexistent field"
    return [_of_others(code, message, field, field.span, source) for field in _others(fields_of(check), source)]


def _every_field(side: Side | FieldValue | Right | None) -> Iterator[Field]:
    if isinstance(side, Transformer | ArgumentList):
        for each in side.arguments if isinstance(side, Transformer) else side.items:
            yield from _every_field(each)
    else:
        yield from fields_in(side)


def fields_of_no_ancestor(check: Check) -> Iterator[CompilerProblem]:
    """Yield a problem for each field of a check of an ancestor that is none of the process alone."""
    for field in chain(_every_field(check.left), _every_field(check.right)):
        resolved = resolve_field(field_text(field))
        if resolved is not None and not is_of_process(resolved[0].name, resolved[1]):
            message = f"'{field_text(field)}' is a field of the event, not of an ancestor"
            hint = "compare it outside of ancestor(...)"
            yield CompilerProblem(ProblemCode.LOAD_ERR_COMPILE_CONDITION, message, field.span, hint)


def _others(fields: Iterable[Field], source: str) -> Iterator[Field]:
    """Yield the fields that events of a source don't have."""
    for field in fields:
        resolved = resolve_field(field_text(field))
        if resolved is not None and not has_field(source, resolved[0]):
            yield field


def _of_others(code: ProblemCode, message: str, field: Field, span: Span, source: str) -> CompilerProblem:
    hint = f"events of source {source} don't have this field"
    return CompilerProblem(code, f"{message} {field_text(field)}", span, hint, is_unknown=True)


def output_findings(output: str, source: str | None = None) -> list[CompilerProblem]:
    """Return all problems of an output. source: of the rule's events; None for those of any source."""
    found = []
    try:
        list(window_tokens(output))
        output = without_window_tokens(output)
    except BadWindowToken as error:
        found.append(
            CompilerProblem(ProblemCode.LOAD_ERR_COMPILE_OUTPUT, error.message, error.span, WINDOW_TOKEN_FORMS)
        )
        output = output[: error.span[0]]
    for wrong in output_errors(output):
        hint = did_you_mean(_token(output, wrong.span), FIELDS) or _LISTED
        code = ProblemCode.LOAD_ERR_COMPILE_OUTPUT
        hint = hint if output[wrong.span[0] + 1 :] else "remove it, or write a field after it"
        found.append(CompilerProblem(code, wrong.message, wrong.span, hint, wrong.unknown))
    if source is not None:
        code, message = ProblemCode.LOAD_ERR_COMPILE_OUTPUT, "invalid formatting token"
        for token in tokens_in(output):
            others = _others(fields_in(token.side), source)
            found += [_of_others(code, message, field, token.span, source) for field in others]
    for field in DEPRECATED_FIELDS:
        start = output.find(field)
        if start != -1 and not output[start + len(field) : start + len(field) + 2].startswith("."):
            message = f"usage of deprecated field '{field}' has been detected in the rule output"
            hint = f"remove %{field}"
            found.append(CompilerProblem(ProblemCode.LOAD_DEPRECATED_ITEM, message, (start, start + len(field)), hint))
    return found


def _token(output: str, span: Span) -> str:
    word = output[span[0] : span[1]].lstrip("%0123456789")
    return word.split("[", 1)[0].split(" ", 1)[0]


_WORDS = {"&&": "and", "&": "and", "||": "or", "|": "or", "and": "and", "or": "or", "not": "not", "!": "not"}
_OPERATORS = {
    **dict.fromkeys(("beginswith", "begins", "starts", "startwith", "hasprefix"), "startswith"),
    **dict.fromkeys(("ends", "endwith", "hassuffix"), "endswith"),
    **dict.fromkeys(("matches", "match", "like", "=~", "~", "~="), "glob' or 'regex"),
    **dict.fromkeys(("equals", "equal", "eq", "is", "===", ":="), "="),
    **dict.fromkeys(("ne", "neq", "<>", "isnot", "!=="), "!="),
    **dict.fromkeys(("has", "includes", "include", "contain"), "contains"),
    **dict.fromkeys(("gt",), ">"),
    **dict.fromkeys(("ge", "gte", "=>"), ">="),
    **dict.fromkeys(("lt",), "<"),
    **dict.fromkeys(("le", "lte", "=<"), "<="),
    **dict.fromkeys(("exist", "present"), "exists"),
}
_NEXT = re.compile(r"[A-Za-z_]+|[&|!~=<>:]+|\S")
_LAST = re.compile(r"(\S+)\s*\Z")
_UNLISTED = re.compile(rf"\b({'|'.join(tokens.LIST_OPERATORS)})\s+\S+\s*\Z")
_SINGLE = re.compile(rf"({'|'.join(map(re.escape, tokens.STRING_OPERATORS))})\s*\Z")
_VALUE = re.compile(rf"(?:{'|'.join(map(re.escape, tokens.STRING_OPERATORS))})\s*[^\s()'\"]+\s*\Z")
_AROUND = 40
_TYPOGRAPHIC = re.compile("[\u2018-\u201f\u00ab\u00bb]")


_CONNECTIVES = re.compile(r"'[^']*'|\"[^\"]*\"|(?<![\w.-])(?:and|or)(?=[\s(])")


def parts_beside(text: str, error: int) -> list[str]:
    """Return the parts of a condition before and after the comparison with a syntax error, each with its offsets.

    They are parts up to the nearest `and` or `or`; the rest is replaced by blanks, as are parentheses whose other half
    isn't in the part. error: the offset of the error.
    """
    found = [each for each in _CONNECTIVES.finditer(text) if each.group()[0] not in "'\""]
    before = max((each.start() for each in found if each.start() < error), default=0)
    after = min((each.end() for each in found if each.start() >= error), default=len(text))
    rest = text[after:]
    # Behind an open quotation mark, nothing is known to be a comparison.
    is_quoted = any(text.count(mark, before) % 2 for mark in "'\"")
    parts = (text[:before], "" if is_quoted else " " * after + rest)
    return [_balanced(part) for part in parts if part.strip()]


def _balanced(text: str) -> str:
    letters, opened, index = list(text), list[int](), 0
    while index < len(text):
        if text[index] in "'\"" and (end := tokens.closing_quote(text, index)) != -1:
            index = end
        elif text[index] == "(":
            opened.append(index)
        elif text[index] == ")":
            if opened:
                opened.pop()
            else:
                letters[index] = " "
        index += 1
    for each in opened:
        letters[each] = " "
    return "".join(letters)


def operator_hint(word: str) -> str:
    """Return a hint for what is not an operator; empty if nothing is close."""
    known = _OPERATORS.get(word.lower())
    if known is None and word.lower() in tokens.OPERATORS:
        known = word.lower()
    return f"write '{known}'" if known is not None else did_you_mean(word, tokens.OPERATORS)


def condition_hint(traced: TracedText, error: ConditionError, location: SourceLocation) -> str:
    """Return what to do about a condition that can't be parsed; empty if that isn't known."""
    text, span, message = traced.text, error.span, error.message
    before, rest = text[: span[0]], text[span[0] :].lstrip(tokens.BLANKS)
    found = _NEXT.match(rest)
    word = found.group() if found else ""
    return (
        _of_words(before, word)
        or _of_quotes(text, rest)
        or (_of_operator(word, rest) if "check operator" in message else "")
        or _of_values(before, rest, message)
        or _of_parenthesis(before, rest)
        or _of_spaces(before, rest, message)
        or _not_closed(traced, message, location)
        or _read_as(traced, span, location)
    )


def _not_closed(traced: TracedText, message: str, location: SourceLocation) -> str:
    opened = _open_parenthesis(traced.text) if "')'" in message else None
    if opened is None:
        return ""
    at = traced.locate((opened, opened + 1))
    line = "" if (at.file, at.line) == (location.file, location.line) else f": {at.text.strip()}"
    return f"the '(' in line {at.line}, column {at.column} is not closed{line}"


def _read_as(traced: TracedText, span: Span, location: SourceLocation) -> str:
    """Return a hint with the parsed text if it differs from the file's, because of exceptions or lists."""
    around = traced.text[max(0, span[0] - _AROUND) : span[1] + _AROUND]
    if " ".join(around.split()) in " ".join(location.text.split()):
        return ""
    return f"it was parsed as: ...{' '.join(around.split())}..."


def _of_parenthesis(before: str, rest: str) -> str:
    if not rest.startswith(")"):
        return ""
    if before.rstrip().endswith(","):
        return "remove the comma before ')'"
    return "there is no '(' for this ')'" if _open_parenthesis(before) is None else ""


def _of_spaces(before: str, rest: str, message: str) -> str:
    """Return a hint for a value that ended at a space, or for a missing word between two comparisons."""
    if not rest or not message.startswith("unexpected token"):
        return ""
    following = tokens.FIELD_NAME.match(rest)
    if following is not None:
        return f"write 'and' or 'or' before '{following.group()}'"
    return "put a value that contains spaces in quotation marks" if _VALUE.search(before) else ""


def _of_words(before: str, word: str) -> str:
    last = _LAST.search(before)
    if last is not None and last[1] in ("NOT", "Not"):
        return f"write 'not' instead of '{last[1]}'"
    if last is not None and last[1].endswith("=~"):
        return operator_hint("=~")
    known = _WORDS.get(word.lower())
    return f"write '{known}' instead of '{word}'" if known is not None and known != word else ""


def _of_quotes(text: str, rest: str) -> str:
    if rest[:1] in ("'", '"') and tokens.closing_quote(rest, 0) == -1:
        return f"the quotation mark {rest[0]} that begins here is not closed"
    if any(text.count(mark) % 2 for mark in "'\""):
        return "a quotation mark is not closed, or is missing"
    if _TYPOGRAPHIC.search(text):
        return 'write straight quotation marks (") instead of typographic ones'
    return ""


def _of_operator(word: str, rest: str) -> str:
    if not rest or word in ("and", "or", ")"):
        return "compare the field with a value, or write 'FIELD exists'"
    if rest.startswith("not "):
        return "write 'not' before the field: 'not FIELD in (...)'"
    return operator_hint(word)


def _of_values(before: str, rest: str, message: str) -> str:
    unlisted = _UNLISTED.search(before)
    if (unlisted is not None and rest.startswith(",")) or (message.startswith("expected a list") and rest):
        operator = unlisted[1] if unlisted else (_LAST.search(before) or ["", "in"])[1]
        return f"put the values in parentheses: '{operator} (...)'"
    single = _SINGLE.search(before)
    if single is not None and rest.startswith("("):
        if single[1] in tokens.SYMBOL_OPERATORS:
            return f"'{single[1]}' takes one value: write 'in (...)' for several"
        more = ", or 'pmatch (...)' for paths" if single[1] == "startswith" else ""
        return f"'{single[1]}' takes one value: write '{single[1]} anyof (...)' for several{more}"
    if "')'" in message and rest and rest[0] not in "()":
        found = _NEXT.match(rest)
        between = f"write 'and' or 'or' before '{found.group()}'" if found and found.group()[0].isalpha() else ""
        return "separate the values of a list with commas" if _is_in_list(before) else between
    return ""


def _is_in_list(before: str) -> bool:
    opened = _open_parenthesis(before)
    return opened is not None and re.search(rf"\b({'|'.join(tokens.LIST_OPERATORS)})\s*\Z", before[:opened]) is not None


def _open_parenthesis(text: str) -> int | None:
    """Return the offset of the last '(' that is not closed, outside of quotes; None if all are closed."""
    opened: list[int] = []
    index = 0
    while index < len(text):
        letter = text[index]
        if letter in "'\"" and (end := tokens.closing_quote(text, index)) != -1:
            index = end
        elif letter == "(":
            opened.append(index)
        elif letter == ")" and opened:
            opened.pop()
        index += 1
    return opened[-1] if opened else None
