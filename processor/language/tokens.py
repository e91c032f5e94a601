"""The tokens of conditions: operators, transformers, and patterns for names, numbers and strings."""

import re
from typing import NoReturn

from foundation.errors import LannerError
from foundation.yaml.text import Span
from processor.language.ast import Literal


class SpanError(LannerError, ValueError):
    """An error in a part of a text."""

    def __init__(self, message: str, span: Span, *, unknown: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.span = span
        self.unknown = unknown
        """True if the part names an unknown field: skip-if-unknown-filter makes it a warning."""


class ConditionError(SpanError):
    """Raised for a text that is not a condition.

    Errors are equal if message and span are equal, so that tests and collections can compare them.
    """

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ConditionError):
            return NotImplemented
        return (self.message, self.span) == (other.message, other.span)

    def __hash__(self) -> int:
        return hash((self.message, self.span))


UNARY_OPERATORS = ("exists",)
NUMBER_OPERATORS = ("<=", "<", ">=", ">")
SYMBOL_OPERATORS = ("==", "=", "!=")
WORD_OPERATORS = (
    "glob",
    "iglob",
    "contains",
    "icontains",
    "bcontains",
    "startswith",
    "bstartswith",
    "endswith",
    "regex",
)
LIST_OPERATORS = ("intersects", "in", "pmatch")
IN_INDICATORS = "in_indicators"
"""The operator, Lanner's own, before names of lists of indicators."""
EQUALITY_OPERATORS = frozenset({"=", "==", "!=", "in", "intersects"})
"""The operators that compare whole values."""
EXACT_OPERATORS = frozenset({"=", "==", "in"})
"""The operators that are true only of the values on the right."""
STRING_OPERATORS = SYMBOL_OPERATORS + WORD_OPERATORS
OPERATORS = UNARY_OPERATORS + NUMBER_OPERATORS + STRING_OPERATORS + LIST_OPERATORS
MODIFIERS = ("oneof", "anyof", "allof")
TRANSFORMERS = ("tolower", "toupper", "b64", "basename", "len", "join", "concat", "getopt")
FIELD_VALUE = "val"
ANCESTOR = "ancestor"

BLANKS = " \t\b\r\n"
_SPACE = r" \t\n\v\f\r"

BLANK = re.compile(rf"[{BLANKS}]+")
# Possessive quantifiers prevent backtracking: a text of a million characters is read once.
IDENTIFIER = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*+")
FIELD_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*+(?:\.[a-zA-Z][a-zA-Z0-9_]*+)+")
BARE_ARGUMENT = re.compile(rf"""[^\[\]"'\0{_SPACE}]+""")
HEX_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+")
NUMBER = re.compile(r"[+-]?[0-9]++\.?[0-9]*+(?:[eE][+-][0-9]++)?")
BARE_STRING = re.compile(rf"""[^()"'=,\0{_SPACE}]+""")
NOT = re.compile(rf"not[{_SPACE}]+")
TRANSFORMER = re.compile(rf"({'|'.join(TRANSFORMERS)})\(")
OPERATOR = re.compile(
    rf"(?P<number><=|<|>=|>)|(?P<string>==|=|!=|(?:{'|'.join(WORD_OPERATORS)})(?=[{BLANKS}]))|(?P<list>{IN_INDICATORS}|intersects|in|pmatch)"
)
MODIFIER = re.compile(rf"({'|'.join(MODIFIERS)})[{BLANKS}]+(?=\(|(?!(?:and|or)(?![a-zA-Z0-9_]))[a-zA-Z])")
"""It is a modifier only before a list or a list's name; otherwise it is a plain value."""

_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "\\": "\\", "/": "/"}
# A backslash before a blank stays and the blank is dropped: old rules rely on this.
_ESCAPES[" "] = "\\"
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


def unescape(body: str, quote: str) -> str:
    r"""Return a string's content without escapes; \xHH is a byte, so several can form one character.

    Raises:
        ValueError: an escape is not supported; the message is for the user.

    Source: libsinsp filter/escaping.cpp.
    """
    if "\\" not in body:
        return body
    parts: list[str] = []
    has_bytes = False
    index = 0
    while index < len(body):
        character = body[index]
        if character != "\\":
            parts.append(character)
            index += 1
            continue
        escape = body[index + 1] if index + 1 < len(body) else ""
        index += 2
        if escape == "x":
            digits = body[index : index + 2]
            if len(digits) != 2 or not _HEX_DIGITS.issuperset(digits):
                raise ValueError("unsupported string escape sequence: \\x")
            value = int(digits, 16)
            parts.append(chr(value) if value < 0x80 else chr(0xDC00 + value))
            has_bytes = True
            index += 2
        elif escape in ("'", '"'):
            if escape != quote:
                raise ValueError(f"invalid \\{escape} escape in {quote}-quoted string")
            parts.append(escape)
        elif escape in _ESCAPES:
            parts.append(_ESCAPES[escape])
        elif escape:
            raise ValueError(f"unsupported string escape sequence: \\{escape}")
    text = "".join(parts)
    if has_bytes:
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return text


def closing_quote(text: str, start: int) -> int:
    """Return the index of the quote that ends the string beginning at `start`, or -1.

    A quote after a backslash never ends a string, even if the backslash is itself escaped. Existing rules
    rely on this.
    """
    quote = text[start]
    end_of_text = text.find("\0", start)
    index = text.find(quote, start + 1)
    while index != -1 and text[index - 1] == "\\":
        index = text.find(quote, index + 1)
    if end_of_text != -1 and index > end_of_text:
        return -1
    return index


_DEEPEST_STEP = 4
"""Grammar productions that the innermost check passes through."""


class Scanner:
    """A text, the position in it, the last token read, and the nesting depth."""

    __slots__ = ("_depth", "_last", "_max_depth", "_position", "_text")

    def __init__(self, text: str, max_depth: int) -> None:
        self._text = text
        self._max_depth = max_depth
        self._depth = 0
        self._position = 0
        self._last = ""

    def _error(self, message: str) -> ConditionError:
        return ConditionError(message, (self._position, min(self._position + 1, len(self._text))))

    def _fail(self, message: str) -> NoReturn:
        raise self._error(message)

    def _blank(self) -> bool:
        match = BLANK.match(self._text, self._position)
        if match is None:
            return False
        self._position = match.end()
        return True

    def _take(self, token: str) -> bool:
        if not self._text.startswith(token, self._position):
            return False
        self._position += len(token)
        self._last = token
        return True

    def _enter(self, levels: int) -> None:
        self._depth += levels
        if self._depth + _DEEPEST_STEP >= self._max_depth:
            self._fail(f"exceeded max depth limit of {self._max_depth}")

    def _quoted(self) -> Literal | None:
        start = self._position
        if not self._text.startswith(("'", '"'), start):
            return None
        end = closing_quote(self._text, start)
        if end == -1:
            return None
        self._position = end + 1
        try:
            self._last = unescape(self._text[start + 1 : end], self._text[start])
        except ValueError as error:
            raise ConditionError(str(error), (start, end + 1)) from None
        return Literal(self._last, True, (start, end + 1))

    def _matched(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Read a token, if one is next."""
        match = pattern.match(self._text, self._position)
        if match is not None:
            self._position = match.end()
            self._last = match.group()
        return match

    def _number(self) -> Literal | None:
        match = self._matched(HEX_NUMBER) or self._matched(NUMBER)
        return None if match is None else Literal(match.group(), False, match.span())

    def _name(self) -> Literal | None:
        match = self._matched(IDENTIFIER)
        return None if match is None else Literal(match.group(), False, match.span())

    def _value(self) -> Literal | None:
        quoted = self._quoted()
        if quoted is not None:
            return quoted
        match = self._matched(BARE_STRING)
        return None if match is None else Literal(match.group(), False, match.span())
