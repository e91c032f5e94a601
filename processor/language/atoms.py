"""The part of the parser that reads checks, their operands, and macro names.

parser.py has the grammar that these functions follow.
"""

from typing import cast

from processor.language import tokens
from processor.language.ast import (
    Argument,
    ArgumentList,
    Check,
    Field,
    FieldValue,
    Left,
    Literal,
    MacroRef,
    Modifier,
    Node,
    Right,
    Transformer,
    ValueList,
)
from processor.language.tokens import ConditionError, Scanner

_LEVELS_OF_TRANSFORMER = 8
"""The depth that one nested transformer counts for."""


def _quote_all(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


_A_TRANSFORMER = f"a field with a valid transformer: {_quote_all((tokens.FIELD_VALUE, *tokens.TRANSFORMERS))}"
_EXPECTED_OPERATOR = f"expected a valid check operator: one of {_quote_all(tokens.OPERATORS)}"
_EXPECTED_NUMBER = f"expected a number value or {_A_TRANSFORMER}"
_EXPECTED_STRING = f"expected a string value or {_A_TRANSFORMER}"
_EXPECTED_LIST = f"expected a list, an identifier, or {_A_TRANSFORMER}"
_EXPECTED_INDEX = "expected a valid field argument: a quoted string or a bare string"
_EXPECTED_ARGUMENT = (
    "expected field transformer argument: field, transformer, quoted string, number, or transformer list"
)
_EXPECTED_LIST_ARGUMENT = "expected transformer list argument: field, transformer, quoted string, or number"


class AtomReader(Scanner):
    """Reads one check or one macro name."""

    __slots__ = ()

    def _atom(self) -> Node:
        start = self._position
        left: Left | None = self._field() or self._transformer()
        if left is not None:
            return self._check(left, start)
        if self._matched(tokens.IDENTIFIER) is None:
            self._fail("expected a '(' token, a field check, or an identifier")
        return MacroRef(self._last, (start, self._position))

    def _field(self) -> Field | None:
        start = self._position
        match = self._matched(tokens.FIELD_NAME)
        if match is None:
            return None
        argument = self._index()
        return Field(match.group(), argument, (start, self._position))

    def _index(self) -> str | None:
        if not self._take("["):
            return None
        quoted = self._quoted()
        if quoted is not None:
            argument = quoted.text
        elif match := self._matched(tokens.BARE_ARGUMENT):
            argument = match.group()
        else:
            self._fail(_EXPECTED_INDEX)
        if not self._take("]"):
            self._fail("expected a ']' token")
        return argument

    def _transformer(self) -> Transformer | None:
        start = self._position
        match = tokens.TRANSFORMER.match(self._text, start)
        if match is None:
            return None
        self._position = match.end()
        self._last = match.group(1)
        name = match.group(1)
        self._enter(_LEVELS_OF_TRANSFORMER)
        arguments = [self._argument()]
        self._blank()
        while self._take(","):
            arguments.append(self._argument())
            self._blank()
        if not self._take(")"):
            self._fail("expected a ')' token closing the transformer")
        self._depth -= _LEVELS_OF_TRANSFORMER
        index = self._index()
        return Transformer(name, tuple(arguments), index, (start, self._position))

    def _argument(self) -> Argument:
        self._blank()
        start = self._position
        simple = self._simple_argument()
        if simple is not None:
            return simple
        if not self._take("("):
            self._fail(_EXPECTED_ARGUMENT)
        items: list[Field | Transformer | Literal] = []
        self._blank()
        if not self._take(")"):
            while True:
                self._blank()
                item = self._simple_argument()
                if item is None:
                    self._fail(_EXPECTED_LIST_ARGUMENT)
                items.append(item)
                self._blank()
                if not self._take(","):
                    break
            if not self._take(")"):
                self._fail("expected a ')' token")
        return ArgumentList(tuple(items), (start, self._position))

    def _simple_argument(self) -> Field | Transformer | Literal | None:
        return self._transformer() or self._field() or self._quoted() or self._number()

    def _check(self, left: Left, start: int) -> Check:
        self._blank()
        if self._take("exists"):
            return Check(left, "exists", None, None, (start, self._position))
        match = self._matched(tokens.OPERATOR)
        if match is None:
            self._fail(_EXPECTED_OPERATOR)
        operator = match.group()
        modifier = self._modifier() if match["string"] else None
        if modifier is not None:
            right = self._expect(self._list() or self._name(), _EXPECTED_LIST)
            return Check(left, operator, right, modifier, (start, self._position))
        self._blank()
        if match["number"]:
            right = self._expect(self._right_field() or self._number(), _EXPECTED_NUMBER)
        elif match["string"]:
            right = self._expect(self._right_field() or self._value(), _EXPECTED_STRING)
        else:
            right = self._expect(self._list() or self._right_field() or self._name(), _EXPECTED_LIST)
        return Check(left, operator, right, None, (start, self._position))

    def _modifier(self) -> Modifier | None:
        before = self._position
        if not self._blank():
            return None
        match = tokens.MODIFIER.match(self._text, self._position)
        if match is None:
            self._position = before
            return None
        self._position = match.end()
        self._last = match.group(1)
        return cast(Modifier, self._last)

    def _expect(self, right: Right | None, message: str) -> Right:
        if right is None:
            self._fail(message)
        return right

    def _right_field(self) -> FieldValue | Transformer | None:
        start = self._position
        if not self._take("val("):
            return self._transformer()
        self._last = "val"
        self._blank()
        field = self._field()
        if field is None:
            self._fail("expected a field within 'val' transformer")
        self._blank()
        if not self._take(")"):
            self._fail("expected a ')' token closing the transformer")
        argument = self._index()
        return FieldValue(field, argument, (start, self._position))

    def _list(self) -> ValueList | None:
        start = self._position
        if not self._take("("):
            return None
        items: list[Literal] = []
        self._blank()
        try:
            first = self._value()
        except ConditionError:
            # Falco expects the end of an empty list if the first value cannot be read.
            first = None
        if first is not None:
            items.append(first)
            self._blank()
            while self._take(","):
                self._blank()
                item = self._value()
                if item is None:
                    self._fail("expected a string value")
                items.append(item)
                self._blank()
        if not self._take(")"):
            self._fail("expected a ')' token")
        return ValueList(tuple(items), (start, self._position))
