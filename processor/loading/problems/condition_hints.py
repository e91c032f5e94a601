"""Hints for conditions that can't be parsed: what was probably meant, by what follows and what precedes the error."""

import re

from processor.language import tokens
from processor.loading.problems.hints import did_you_mean
from schemas.yaml.excerpt import Span

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
_TYPOGRAPHIC = re.compile("[\u2018-\u201f\u00ab\u00bb]")


def operator_hint(word: str) -> str:
    """Return a hint for what is not an operator; empty if nothing is close."""
    known = _OPERATORS.get(word.lower())
    if known is None and word.lower() in tokens.OPERATORS:
        known = word.lower()
    return f"write '{known}'" if known is not None else did_you_mean(word, tokens.OPERATORS)


def condition_hint(text: str, span: Span, message: str) -> str:
    """Return what to do about a condition that can't be parsed; empty if that isn't known.

    Args:
        text: the condition.
        span: where parsing stopped.
        message: the parser's message.
    """
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
    )


def _of_parenthesis(before: str, rest: str) -> str:
    if not rest.startswith(")"):
        return ""
    if before.rstrip().endswith(","):
        return "remove the comma before ')'"
    return "there is no '(' for this ')'" if open_parenthesis(before) is None else ""


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
    opened = open_parenthesis(before)
    return opened is not None and re.search(rf"\b({'|'.join(tokens.LIST_OPERATORS)})\s*\Z", before[:opened]) is not None


def open_parenthesis(text: str) -> int | None:
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
