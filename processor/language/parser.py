"""Reads the text of a condition into a tree.

The grammar, in EBNF. It is the specification: the functions below follow it production by production.

    Expression  = Conjunction { "or" OrTail } ;
    OrTail      = blank Conjunction | "(" Expression ")" ;
    Conjunction = Negation { "and" AndTail } ;
    AndTail     = blank Negation | "(" Expression ")" ;
    Negation    = { "not" blank } ( "not(" Expression ")" | Primary ) ;
    Primary     = "(" Expression ")" | Left Condition | Identifier ;
    Left        = Field | Transformer ;
    Field       = FieldName [ Index ] ;
    Index       = "[" ( Quoted | BareArgument ) "]" ;
    Transformer = TransformerName "(" Argument { "," Argument } ")" [ Index ] ;
    Argument    = Simple | "(" [ Simple { "," Simple } ] ")" ;
    Simple      = Transformer | Field | Quoted | Number ;
    Condition   = "exists"
                | NumberOperator ( RightField | Number )
                | StringOperator blank Modifier blank ( List | Identifier )
                | StringOperator ( RightField | Quoted | BareString )
                | ListOperator ( List | RightField | Identifier ) ;
    RightField  = "val(" Field ")" [ Index ] | Transformer ;
    List        = "(" [ Value { "," Value } ] ")" ;
    Value       = Quoted | BareString ;

    NumberOperator  = "<=" | "<" | ">=" | ">" ;
    StringOperator  = "==" | "=" | "!=" | ( "glob" | "iglob" | "contains" | "icontains" | "bcontains"
                    | "startswith" | "bstartswith" | "endswith" | "regex" ) blank ;
    ListOperator    = "intersects" | "in" | "pmatch" ;
    Modifier        = "oneof" | "anyof" | "allof" ;
    TransformerName = "tolower" | "toupper" | "b64" | "basename" | "len" | "join" | "concat" | "getopt" ;

Blanks (space, tab, backspace, CR, LF) may stand between any two of these but inside a name with its "("
or "[". The shapes of names, numbers and strings are in tokens.py. Behind "or(" the parenthesis is the
whole tail: `a or(b) and c` is an error, `a or (b) and c` is not. A modifier with no list behind it, and
before `and` or `or`, is a plain value.

Source: libsinsp filter/parser.h and parser.cpp.
"""

from typing import NoReturn, cast

from processor.language import tokens
from processor.language.ast import (
    And,
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
    Not,
    Or,
    Right,
    Transformer,
    ValueList,
)
from processor.language.errors import ConditionError

DEFAULT_DEPTH = 100
"""What the bare parser allows; conditions of rules get RULE_DEPTH."""
RULE_DEPTH = 1000

_LEVELS_OF_PARENTHESES = 5
_LEVELS_OF_NOT = 4
# The depth is counted in the productions that a level of nesting passes through, as Falco counts it.


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


def parse(text: str, max_depth: int = DEFAULT_DEPTH) -> Node:
    """Read a condition; what it says about fields and types is judged elsewhere.

    Args:
        text: the condition, lists already put in.
        max_depth: how deep it may nest, in productions of the grammar: about a fifth in parentheses.

    Raises:
        ConditionError: where the text is no condition.
    """
    return _Parser(text, max_depth).parse()


class _Parser:
    __slots__ = ("_depth", "_last", "_max_depth", "_position", "_text")

    def __init__(self, text: str, max_depth: int) -> None:
        self._text = text
        self._max_depth = max_depth
        self._depth = 0
        self._position = 0
        self._last = ""

    def parse(self) -> Node:
        if not self._text:
            self._fail("filter input string is empty")
        try:
            self._text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise ConditionError("half of a surrogate pair is no character", (error.start, error.end)) from None
        node = self._expression()
        if self._position != len(self._text):
            self._fail(f"unexpected token after '{self._last}', expecting 'or', 'and'")
        return node

    def _fail(self, message: str) -> NoReturn:
        end = min(self._position + 1, len(self._text))
        raise ConditionError(message, (self._position, end))

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
        if self._depth + _LEVELS_OF_NOT >= self._max_depth:
            self._fail(f"exceeded max depth limit of {self._max_depth}")

    def _expression(self) -> Node:
        self._blank()
        start = self._position
        children = [self._conjunction()]
        self._blank()
        while self._take("or"):
            if self._blank():
                children.append(self._conjunction())
            elif self._take("("):
                children.append(self._embedded(_LEVELS_OF_PARENTHESES))
            else:
                self._fail("expected blank or '(' after 'or'")
            self._blank()
        if len(children) == 1:
            return children[0]
        return Or(tuple(children), (start, children[-1].span[1]))

    def _conjunction(self) -> Node:
        self._blank()
        start = self._position
        children = [self._negation()]
        self._blank()
        while self._take("and"):
            if self._blank():
                children.append(self._negation())
            elif self._take("("):
                children.append(self._embedded(_LEVELS_OF_PARENTHESES))
            else:
                self._fail("expected blank or '(' after 'and'")
            self._blank()
        if len(children) == 1:
            return children[0]
        return And(tuple(children), (start, children[-1].span[1]))

    def _negation(self) -> Node:
        self._blank()
        start = self._position
        negated = False
        while match := tokens.NOT.match(self._text, self._position):
            self._position = match.end()
            self._last = match.group()
            negated = not negated
        if self._take("not("):
            negated = not negated
            child = self._embedded(_LEVELS_OF_NOT)
        else:
            child = self._primary()
        return Not(child, (start, self._position)) if negated else child

    def _embedded(self, levels: int) -> Node:
        self._enter(levels)
        child = self._expression()
        self._blank()
        if not self._take(")"):
            self._fail("expected a ')' token")
        self._depth -= levels
        return child

    def _primary(self) -> Node:
        if self._take("("):
            return self._embedded(_LEVELS_OF_PARENTHESES)
        start = self._position
        left: Left | None = self._field() or self._transformer()
        if left is not None:
            return self._check(left, start)
        match = tokens.IDENTIFIER.match(self._text, start)
        if match is None:
            self._fail("expected a '(' token, a field check, or an identifier")
        self._position = match.end()
        self._last = match.group()
        return MacroRef(self._last, (start, self._position))

    def _field(self) -> Field | None:
        start = self._position
        match = tokens.FIELD_NAME.match(self._text, start)
        if match is None:
            return None
        name = self._last = match.group()
        self._position = match.end()
        argument = self._index()
        return Field(name, argument, (start, self._position))

    def _index(self) -> str | None:
        if not self._take("["):
            return None
        quoted = self._quoted()
        if quoted is not None:
            argument = quoted.text
        elif match := tokens.BARE_ARGUMENT.match(self._text, self._position):
            self._position = match.end()
            argument = self._last = match.group()
        else:
            self._fail(_EXPECTED_INDEX)
        if not self._take("]"):
            self._fail("expected a ']' token")
        return argument

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

    def _transformer(self) -> Transformer | None:
        start = self._position
        match = tokens.TRANSFORMER.match(self._text, start)
        if match is None:
            return None
        self._position = match.end()
        self._last = match.group(1)
        name = match.group(1)
        self._enter(1)
        arguments = [self._argument()]
        self._blank()
        while self._take(","):
            arguments.append(self._argument())
            self._blank()
        if not self._take(")"):
            self._fail("expected a ')' token closing the transformer")
        self._depth -= 1
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

    def _number(self) -> Literal | None:
        start = self._position
        match = tokens.HEX_NUMBER.match(self._text, start) or tokens.NUMBER.match(self._text, start)
        if match is None:
            return None
        self._position = match.end()
        self._last = match.group()
        return Literal(self._last, False, (start, self._position))

    def _check(self, left: Left, start: int) -> Check:
        self._blank()
        if self._take("exists"):
            return Check(left, "exists", None, None, (start, self._position))
        match = tokens.OPERATOR.match(self._text, self._position)
        if match is None:
            self._fail(_EXPECTED_OPERATOR)
        operator = self._last = match.group()
        self._position = match.end()
        modifier: Modifier | None = None
        right: Right
        if match["number"]:
            right = self._number_value()
        elif match["string"]:
            modifier = self._modifier()
            right = self._list_or_name() if modifier else self._string_value()
        else:
            right = self._list_value()
        return Check(left, operator, right, modifier, (start, self._position))

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

    def _number_value(self) -> Right:
        self._blank()
        right = self._right_field() or self._number()
        if right is None:
            self._fail(_EXPECTED_NUMBER)
        return right

    def _string_value(self) -> Right:
        self._blank()
        right = self._right_field() or self._value()
        if right is None:
            self._fail(_EXPECTED_STRING)
        return right

    def _list_value(self) -> Right:
        self._blank()
        right = self._list() or self._right_field() or self._name()
        if right is None:
            self._fail(_EXPECTED_LIST)
        return right

    def _list_or_name(self) -> Right:
        right = self._list() or self._name()
        if right is None:
            self._fail(_EXPECTED_LIST)
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
            # Falco looks for the end of an empty list when the first value can't be read.
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
