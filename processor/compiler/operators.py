"""Operators: predicates over one value; the compiler inlines the simple ones and calls these for the rest.

Every predicate is total: it accepts any value of its type and never raises. Missing values are handled
by the caller. Source: libsinsp filter_compare.cpp; glob is fnmatch(3) with flags 0 in the C locale.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, cast

from foundation.caches import cache_short_texts
from processor.compiler.operands import (
    NET_TYPES,
    STRING_TYPES,
    BadLiteral,
    Net,
    as_bytes_text,
    encoded,
    is_whole,
    parse_hex,
    parse_literal,
)
from processor.language.tokens import LIST_OPERATORS

Predicate = Callable[[Any], bool]
Comparison = Callable[[Any, Any], bool]

ORDER_OPERATORS = frozenset({"<", "<=", ">", ">="})
TEXT_OPERATORS = frozenset({"icontains", "glob", "iglob", "regex", "pmatch"})
"""Operators on text only."""
BYTE_OPERATORS = frozenset({"bcontains", "bstartswith"})
"""Operators on bytes only."""
SLOW_OPERATORS = frozenset({"regex", "glob", "iglob", "pmatch"})
"""Operators that are evaluated after the others, and whose results are cached: paths and commands repeat."""
NO_FIELD_OPERATORS = frozenset({"regex", "pmatch"})
"""Operators that do not accept a field on the right."""
_cached = cache_short_texts(1024)
_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_ASCII_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}


def lower(text: str) -> str:
    """Return a text with ASCII letters in lower case and all others unchanged, as in the C locale."""
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)


def upper(text: str) -> str:
    """Return a text with ASCII letters in upper case and all others unchanged, as in the C locale."""
    return text.upper() if text.isascii() else text.translate(_ASCII_UPPER)


def predicate(operator: str, kind: str, texts: Sequence[str], modifier: str | None = None) -> Predicate:
    """Build a predicate that compares one value with the literals on an operator's right.

    Args:
        operator: as in a rule, except ``exists``.
        kind: the type of the left side.
        texts: the values on the right; exactly one if the operator takes one.
        modifier: if there is one, each value is compared separately and the results are counted.

    Raises:
        BadLiteral: a value does not fit the type or the operator. A regular expression is compiled when it is first
            needed; full_match() checks it.
    """
    if modifier is not None:
        return counted([_single(operator, kind, text) for text in texts], modifier)
    if operator == "pmatch":
        return _cached(_paths(texts))
    if operator in LIST_OPERATORS:
        return _member(kind, texts)
    return _single(operator, kind, texts[0])


def compare(operator: str) -> Comparison:
    """Return the function of an operator between two values of an event, neither missing."""
    return _COMPARISONS[operator]


def _single(operator: str, kind: str, text: str) -> Predicate:
    if operator in ("bcontains", "bstartswith"):
        pattern = parse_hex(text)
        if operator == "bcontains":
            return lambda value: pattern in encoded(value)
        return lambda value: encoded(value).startswith(pattern)
    if kind in STRING_TYPES:
        parse_literal(text, kind)
    if operator == "regex":
        return _cached(_regex(text))
    if operator in ("glob", "iglob"):
        return _cached(_glob(text, fold=operator == "iglob"))
    if operator == "pmatch":
        return _cached(_paths((text,)))
    literal = parse_literal(text, kind)
    if isinstance(literal, Net):
        if operator == "!=":
            return lambda value: not literal.holds(value)
        return literal.holds
    if operator == "icontains":
        # Several rules look for many words in each command line.
        part = lower(str(literal))
        return lambda value: _contains(lower(value), part)
    comparison = _COMPARISONS[operator]
    return lambda value: comparison(value, literal)


def counted(predicates: Sequence[Predicate], modifier: str) -> Predicate:
    """Return a predicate that counts how many of several are true, as a modifier demands."""
    if not predicates:
        return lambda _value: False
    if modifier == "anyof":
        return lambda value: any(each(value) for each in predicates)
    if modifier == "allof":
        return lambda value: all(each(value) for each in predicates)
    return lambda value: sum(each(value) for each in predicates) == 1


def _member(kind: str, texts: Sequence[str]) -> Predicate:
    literals = [parse_literal(text, kind) for text in texts]
    if kind in NET_TYPES:
        nets = cast("list[Net]", literals)
        return lambda value: any(net.holds(value) for net in nets)
    return frozenset(literals).__contains__


def full_match(text: str) -> Callable[[bytes], object]:
    """Return what matches whole values with a regular expression, or None.

    Raises:
        BadLiteral: it is none.
    """
    # Imported here, because it takes 2.4 MiB, and few conditions get as far as their regular expressions.
    import re2  # noqa: PLC0415

    options = re2.Options()
    options.posix_syntax = True
    options.longest_match = True
    options.log_errors = False
    options.never_nl = False
    # To find what groups match, RE2 gives up its automaton, which is up to 500 times faster.
    options.never_capture = True
    try:
        return cast("Callable[[bytes], object]", re2.compile(encoded(text), options).fullmatch)
    except re2.error as problem:
        raise BadLiteral(
            f"'{text}' is not a regular expression in RE2's POSIX syntax: {_error_text(problem)}"
        ) from None


def _regex(text: str) -> Predicate:
    match = cache(partial(full_match, text))
    return lambda value: match()(_readable(value)) is not None


def _readable(value: str) -> bytes:
    """Return the bytes of a text, with U+FFFD for each longest part that is not UTF-8, as in Falco."""
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError:
        return encoded(value).decode("utf-8", "replace").encode("utf-8")


def _error_text(problem: Exception) -> str:
    text = problem.args[0] if problem.args else ""
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


def _glob(text: str, *, fold: bool) -> Predicate:
    match = glob_expression(as_bytes_text(text), fold=fold).fullmatch
    return lambda value: match(as_bytes_text(value)) is not None


_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "\\x21-\\x7e",
    "lower": "a-z",
    "print": "\\x20-\\x7e",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t\\n\\r\\f\\v",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


def glob_expression(pattern: str, *, fold: bool = False) -> re.Pattern[str]:
    """Convert a shell pattern, with one character per byte, to a regular expression that matches in linear time.

    ``*`` and ``?`` also match ``/``; brackets support ranges, ``!``, ``^`` and classes; a backslash quotes
    the next character. An unclosed bracket is a plain character. A run of ``*`` counts as one. `fold` ignores case.
    """
    # Between asterisks, each part has one length, so the first place where it fits is as good as any later one.
    parts = [""]
    index = 0
    while index < len(pattern):
        letter = pattern[index]
        index += 1
        if letter == "*":
            if parts[-1] or len(parts) == 1:
                parts.append("")
        elif letter == "?":
            parts[-1] += "."
        elif letter == "[" and (bracket := _bracket(pattern, index)) is not None:
            text, index = bracket
            parts[-1] += text
        elif letter == "\\" and index < len(pattern):
            parts[-1] += re.escape(pattern[index])
            index += 1
        else:
            parts[-1] += re.escape(letter)
    head, *middle = parts
    last = f".*{middle.pop()}" if middle else ""
    found = "".join(f"(?>.*?{part})" for part in middle)
    return re.compile(f"{head}{found}{last}", re.DOTALL | (re.IGNORECASE | re.ASCII if fold else 0))


def _bracket(pattern: str, index: int) -> tuple[str, int] | None:
    negated = pattern[index : index + 1] in ("!", "^")
    index += negated
    members: list[str] = []
    first = True
    while index < len(pattern) and (first or pattern[index] != "]"):
        first = False
        if pattern.startswith("[:", index) and (end := pattern.find(":]", index)) > 0:
            name = pattern[index + 2 : end]
            members.append(_CLASSES.get(name, ""))
            index = end + 2
            continue
        letter, index = _member_letter(pattern, index)
        if pattern[index : index + 1] == "-" and pattern[index + 1 : index + 2] not in ("", "]"):
            last, index = _member_letter(pattern, index + 1)
            if letter <= last:
                members.append(f"{re.escape(letter)}-{re.escape(last)}")
        else:
            members.append(re.escape(letter))
    if index >= len(pattern):
        return None
    inner = "".join(members)
    if not inner:
        return ("." if negated else "(?!)"), index + 1
    return f"[{'^' if negated else ''}{inner}]", index + 1


def _member_letter(pattern: str, index: int) -> tuple[str, int]:
    if pattern[index] == "\\" and index + 1 < len(pattern):
        index += 1
    return pattern[index], index + 1


def _paths(texts: Sequence[str]) -> Predicate:
    for text in texts:
        parse_literal(text, "FSPATH")
    roots: dict[str, Any] = {}
    for text in texts:
        node = roots
        for part in _components(as_bytes_text(text)):
            node = node.setdefault(part, {})
        node[""] = True
    everything = any(not list(_components(as_bytes_text(text))) for text in texts)
    globs: dict[str, re.Pattern[str]] = {}
    _collect_globs(roots, globs)
    if everything:
        return lambda _value: True

    def match(value: str) -> bool:
        return _walk(roots, list(_components(as_bytes_text(value))), 0, globs)

    return match


def _components(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _collect_globs(node: dict[str, Any], globs: dict[str, re.Pattern[str]]) -> None:
    for part, child in node.items():
        if part:
            if any(letter in part for letter in "*?["):
                globs[part] = glob_expression(part)
            _collect_globs(child, globs)


def _walk(node: dict[str, Any], parts: list[str], depth: int, globs: dict[str, re.Pattern[str]]) -> bool:
    if "" in node:
        return True
    if depth == len(parts):
        return False
    part = parts[depth]
    child = node.get(part)
    if child is not None and _walk(child, parts, depth + 1, globs):
        return True
    for pattern, below in node.items():
        expression = globs.get(pattern)
        if expression is not None and expression.fullmatch(part) and _walk(below, parts, depth + 1, globs):
            return True
    return False


def _contains(value: str, part: str) -> bool:
    return part in value if is_whole(part) else encoded(part) in encoded(value)


def _starts(value: str, part: str) -> bool:
    return value.startswith(part) if is_whole(part) else encoded(value).startswith(encoded(part))


def _ends(value: str, part: str) -> bool:
    return value.endswith(part) if is_whole(part) else encoded(value).endswith(encoded(part))


def _ordered(value: Any) -> Any:
    return encoded(value) if isinstance(value, str) else value


_COMPARISONS: dict[str, Comparison] = {
    "=": lambda a, b: bool(a == b),
    "==": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(_ordered(a) < _ordered(b)),
    "<=": lambda a, b: bool(_ordered(a) <= _ordered(b)),
    ">": lambda a, b: bool(_ordered(a) > _ordered(b)),
    ">=": lambda a, b: bool(_ordered(a) >= _ordered(b)),
    "contains": _contains,
    "icontains": lambda a, b: _contains(lower(a), lower(b)),
    "startswith": _starts,
    "endswith": _ends,
    "glob": lambda a, b: _glob(b, fold=False)(a),
    "iglob": lambda a, b: _glob(b, fold=True)(a),
    "bcontains": lambda a, b: encoded(b) in encoded(a),
    "bstartswith": lambda a, b: encoded(a).startswith(encoded(b)),
}
"""Operators between two fields."""
