"""The scanner of conditions: reads tokens in order and tracks the position."""

from typing import NoReturn

from processor.language import tokens
from processor.language.ast import Literal
from processor.language.errors import ConditionError

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
        match = tokens.BLANK.match(self._text, self._position)
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
        end = tokens.closing_quote(self._text, start)
        if end == -1:
            return None
        self._position = end + 1
        try:
            self._last = tokens.unescape(self._text[start + 1 : end], self._text[start])
        except ValueError as error:
            raise ConditionError(str(error), (start, end + 1)) from None
        return Literal(self._last, True, (start, end + 1))

    def _number(self) -> Literal | None:
        start = self._position
        match = tokens.HEX_NUMBER.match(self._text, start) or tokens.NUMBER.match(self._text, start)
        if match is None:
            return None
        self._position = match.end()
        self._last = match.group()
        return Literal(self._last, False, (start, self._position))

    def _name(self) -> Literal | None:
        match = tokens.IDENTIFIER.match(self._text, self._position)
        if match is None:
            return None
        self._position = match.end()
        self._last = match.group()
        return Literal(self._last, False, match.span())

    def _value(self) -> Literal | None:
        quoted = self._quoted()
        if quoted is not None:
            return quoted
        match = tokens.BARE_STRING.match(self._text, self._position)
        if match is None:
            return None
        self._position = match.end()
        self._last = match.group()
        return Literal(self._last, False, match.span())
