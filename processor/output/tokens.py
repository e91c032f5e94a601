"""The parser of output texts: splits them into plain text and tokens.

A token is ``%field``, ``%field[argument]`` or ``%transformer(...)``, with an optional width between the
percent sign and the name. The longest prefix that is a field wins. Source: libsinsp eventformatter.cpp.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from foundation.yaml.text import Span
from processor.compiler.operands import BadOperand, side_shape
from processor.language.ast import Argument, ArgumentList, Check, Field, Left, Literal, Transformer
from processor.language.parser import parse
from processor.language.tokens import ConditionError, SpanError
from schemas.catalog.fields import NUMBERED, resolve_field

_WIDTH = re.compile(r"[0-9]*")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)*")
_LONGEST_NAME = 200
_FUNCTION = re.compile(r"(?:tolower|toupper|b64|basename|len|join|concat|getopt)\(")


class OutputError(SpanError):
    """Raised for an invalid output text."""


@dataclass(frozen=True, slots=True)
class Token:
    """A placeholder for one value."""

    side: Left
    width: int
    """The number of characters to cut or pad the value to; 0 leaves its length unchanged."""
    span: Span

    @property
    def key(self) -> str:
        """The token's name among an alert's output fields."""
        return side_text(self.side)


Part = str | Token


def parse_output(text: str) -> tuple[Part, ...]:
    """Split an output text into plain text and tokens.

    Raises OutputError if a token is not a field, or the text ends with a percent sign.
    """
    parts: list[Part] = []
    for part in _parts(text):
        if isinstance(part, OutputError):
            raise part
        parts.append(part)
    return tuple(parts)


def output_errors(text: str) -> list[OutputError]:
    """Return all errors of an output text."""
    return [part for part in _parts(text) if isinstance(part, OutputError)]


def tokens_in(text: str) -> list[Token]:
    """Return the valid tokens of an output text."""
    return [part for part in _parts(text) if isinstance(part, Token)]


def _parts(text: str) -> Iterator[Part | OutputError]:
    position = 0
    while (start := text.find("%", position)) >= 0:
        if start > position:
            yield text[position:start]
        if start == len(text) - 1:
            yield OutputError("invalid formatting syntax: formatting cannot end with a %", (start, start + 1))
            return
        try:
            token, position = _token(text, start)
            yield token
        except OutputError as error:
            yield error
            position = error.span[1]
    if position < len(text):
        yield text[position:]


def _token(text: str, start: int) -> tuple[Token, int]:
    width = _WIDTH.match(text, start + 1)
    begin = width.end() if width is not None else start + 1
    digits = text[start + 1 : begin]
    side, end = _function(text, begin) if _FUNCTION.match(text, begin) else _field(text, begin)
    if side is None:
        end = next((index for index in range(begin, len(text)) if text[index] in " \t\n,)%"), len(text))
        raise OutputError(
            f"invalid formatting token {text[begin:end]}", (start, max(end, start + 1)), unknown=begin != end
        )
    _refuse_hidden(side, (start, end))
    return Token(side, int(digits or 0), (start, end)), end


def _field(text: str, begin: int) -> tuple[Field | None, int]:
    match = _NAME.match(text, begin)
    if match is None:
        return None, begin
    name = match.group()
    if text.startswith("[", match.end()):
        end = _closing_bracket(text, match.end())
        if end > 0 and (found := resolve_field(text[begin:end])) is not None:
            return Field(name, found[1]), end
    for length in range(min(len(name), _LONGEST_NAME), 0, -1):
        if resolve_field(name[:length]) is not None:
            return Field(name[:length]), begin + length
    return None, begin


def _closing_bracket(text: str, start: int) -> int:
    if text[start + 1 : start + 2] in ("'", '"'):
        quote = text.find(text[start + 1] + "]", start + 2)
        return quote + 2 if quote > 0 else -1
    return text.find("]", start) + 1


def _function(text: str, begin: int) -> tuple[Left | None, int]:
    depth = 0
    quote = ""
    for index in range(begin, len(text)):
        letter = text[index]
        if quote:
            quote = "" if letter == quote and text[index - 1] != "\\" else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "(":
            depth += 1
        elif letter == ")":
            depth -= 1
            if depth == 0:
                end = index + 1
                if text.startswith("[", end) and (closed := _closing_bracket(text, end)) > 0:
                    side = _parsed(text[begin:closed])
                    if side is not None:
                        return side, closed
                return _parsed(text[begin:end]), end
    return None, begin


def _parsed(text: str) -> Left | None:
    try:
        tree = parse(f"{text} exists")
        if isinstance(tree, Check):
            side_shape(tree.left)
            return tree.left
    except (ConditionError, BadOperand):
        pass
    return None


def _refuse_hidden(side: Argument, span: Span) -> None:
    if isinstance(side, Field):
        found = resolve_field(side.name if side.argument is None else f"{side.name}[{side.argument}]")
        if found is not None and found[0].filter_only:
            raise OutputError(f"field '{side.name}' can only be used in conditions", span)
        if side.name in NUMBERED and side.argument is not None and not side.argument.isdecimal():
            name = f"{side.name}[{side.argument}]"
            message = f"invalid formatting token {name}: write '{side.name}.{side.argument}' for an argument by name"
            raise OutputError(message, span)
    elif isinstance(side, Transformer):
        for argument in side.arguments:
            _refuse_hidden(argument, span)


def side_text(side: Argument) -> str:
    """Return a field or transformer as the key of an output field: without blanks, quoted only where Falco quotes."""
    if isinstance(side, Field):
        return side.name + _index_text(side.argument)
    if isinstance(side, Literal):
        return _value_text(side.text)
    if isinstance(side, ArgumentList):
        return f"({','.join(side_text(item) for item in side.items)})"
    return f"{side.name}({','.join(side_text(argument) for argument in side.arguments)}){_index_text(side.argument)}"


def _index_text(argument: str | None) -> str:
    return "" if argument is None else f"[{_value_text(argument)}]"


_ESCAPES = str.maketrans({"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", '"': '\\"'})
_QUOTED = re.compile("[\b\f\n\r\t =\\\\\"'\0]")


def _value_text(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"' if _QUOTED.search(text) else text


def output_sides(token: Token) -> list[Left]:
    """Return what a token adds to the output fields: the fields that it uses, and its transformers.

    As in Falco, a transformer replaces one that was read directly before it, such as its only or last argument.
    """
    found: list[Left] = []

    def visit(side: Argument) -> None:
        if isinstance(side, Field):
            found.append(side)
        elif isinstance(side, ArgumentList):
            for item in side.items:
                visit(item)
        elif isinstance(side, Transformer):
            for argument in side.arguments:
                visit(argument)
            if found and isinstance(found[-1], Transformer):
                found.pop()
            found.append(side)

    visit(token.side)
    return list({side_text(side): side for side in found}.values())
