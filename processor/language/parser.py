"""The parser of conditions.

The grammar, in EBNF. It is the specification: the functions below follow it production by production.

    Expression  = Conjunction { "or" OrTail } ;
    OrTail      = blank Conjunction | "(" Expression ")" ;
    Conjunction = Negation { "and" AndTail } ;
    AndTail     = blank Negation | "(" Expression ")" ;
    Negation    = { "not" blank } ( "not(" Expression ")" | "ancestor(" Expression ")" | Primary ) ;
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

Blanks (space, tab, backspace, CR, LF) are allowed between any two of these, but not between a name and its
"(" or "[". tokens.py defines names, numbers and strings. After "or(" the parenthesis is the whole tail:
`a or(b) and c` is an error, `a or (b) and c` is not. A modifier that is not followed by a list, or is
followed by `and` or `or`, is a plain value.

Source: libsinsp filter/parser.h and parser.cpp; "ancestor(" is Lanner's own, which Falco refuses.
"""

from typing import cast

from processor.language import tokens
from processor.language.ast import (
    Ancestor,
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
from processor.language.tokens import ConditionError, Scanner

_LEVELS_OF_TRANSFORMER = 8
"""The depth that one nested transformer counts for."""

_EXPECTED_INDEX = "expected a valid field argument: a quoted string or a bare string"
_EXPECTED_ARGUMENT = (
    "expected field transformer argument: field, transformer, quoted string, number, or transformer list"
)
_EXPECTED_LIST_ARGUMENT = "expected transformer list argument: field, transformer, quoted string, or number"
DEFAULT_DEPTH = 100
"""The default depth limit; conditions of rules use RULE_DEPTH."""
RULE_DEPTH = 1000
_LONGEST_TOKEN = 200
"""Characters of a token that a message quotes."""
_LEVELS_OF_PARENTHESES = 5
_LEVELS_OF_NOT = 4


def _quote_all(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


_A_TRANSFORMER = f"a field with a valid transformer: {_quote_all((tokens.FIELD_VALUE, *tokens.TRANSFORMERS))}"
_EXPECTED_OPERATOR = f"expected a valid check operator: one of {_quote_all(tokens.OPERATORS)}"
_EXPECTED_NUMBER = f"expected a number value or {_A_TRANSFORMER}"
_EXPECTED_STRING = f"expected a string value or {_A_TRANSFORMER}"
_EXPECTED_LIST = f"expected a list, an identifier, or {_A_TRANSFORMER}"


# Depth counts the productions that each level of nesting passes through, as in Falco.


def parse(text: str, max_depth: int = DEFAULT_DEPTH) -> Node:
    """Parse a condition, with lists substituted; fields and types are checked elsewhere.

    Args:
        text: the condition.
        max_depth: the depth limit in grammar productions; one pair of parentheses counts for five.

    Raises:
        ConditionError: the text is not a condition.
    """
    return _Parser(text, max_depth).parse()


class _Level:
    """An expression being parsed: the whole condition, or the content of a pair of parentheses."""

    __slots__ = (
        "conjunction",
        "conjunction_start",
        "disjunction",
        "is_ancestor",
        "is_or_tail",
        "negated",
        "negation_start",
        "outer",
        "start",
        "weight",
    )

    def __init__(
        self, start: int, outer: "_Level | None" = None, weight: int = 0, *, is_ancestor: bool = False
    ) -> None:
        self.start = start
        self.outer = outer
        self.weight = weight
        self.is_ancestor = is_ancestor
        self.disjunction: list[Node] = []
        self.conjunction: list[Node] = []
        self.conjunction_start = start
        self.negation_start = start
        self.negated = False
        self.is_or_tail = False
        """True if the open inner parenthesis is the whole tail of an "or"."""

    def end_conjunction(self) -> None:
        children = tuple(self.conjunction)
        self.conjunction.clear()
        span = (self.conjunction_start, children[-1].span[1])
        self.disjunction.append(children[0] if len(children) == 1 else And(children, span))

    def tree(self) -> Node:
        children = tuple(self.disjunction)
        return children[0] if len(children) == 1 else Or(children, (self.start, children[-1].span[1]))


class _Parser(Scanner):
    __slots__ = ()

    def parse(self) -> Node:
        if not self._text:
            self._fail("filter input string is empty")
        try:
            self._text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise ConditionError("half of a surrogate pair is no character", (error.start, error.end)) from None
        node = self._expression()
        if self._position != len(self._text):
            last = self._last if len(self._last) <= _LONGEST_TOKEN else f"{self._last[:_LONGEST_TOKEN]}..."
            self._fail(f"unexpected token after '{last}', expecting 'or', 'and'")
        return node

    def _expression(self) -> Node:
        # A stack of open parentheses instead of recursion: nesting costs no Python frames.
        self._blank()
        level = _Level(self._position)
        while True:
            opened = self._open_negation(level)
            if opened is None:
                finished = self._close(level, self._atom())
                if isinstance(finished, _Level):
                    level = finished
                else:
                    return finished
            else:
                level = opened

    def _open_negation(self, level: "_Level") -> "_Level | None":
        """Read up to an operand; return a new level if it begins with a parenthesis."""
        self._blank()
        if not level.conjunction:
            level.conjunction_start = self._position
        level.negation_start = self._position
        level.negated = False
        while match := tokens.NOT.match(self._text, self._position):
            self._position = match.end()
            self._last = match.group()
            level.negated = not level.negated
        if self._take("not("):
            level.negated = not level.negated
            return self._open(level, _LEVELS_OF_NOT)
        if self._take(f"{tokens.ANCESTOR}("):
            return self._open(level, _LEVELS_OF_PARENTHESES, is_ancestor=True)
        return self._open(level, _LEVELS_OF_PARENTHESES) if self._take("(") else None

    def _open(self, outer: "_Level", weight: int, *, is_ancestor: bool = False) -> "_Level":
        self._enter(weight)
        start = self._position
        self._blank()
        return _Level(start if is_ancestor else self._position, outer, weight, is_ancestor=is_ancestor)

    def _close(self, level: "_Level", operand: Node) -> "_Level | Node":
        """Add an operand and read up to the next one; return that one's level, or the tree at the end."""
        while True:
            next_level = self._join(level, operand)
            if next_level is not None:
                return next_level
            operand = level.tree()
            if level.outer is None:
                return operand
            if not self._take(")"):
                self._fail("expected a ')' token")
            self._depth -= level.weight
            if level.is_ancestor:
                operand = Ancestor(operand, (level.start - len(tokens.ANCESTOR) - 1, self._position))
            level = level.outer

    def _join(self, level: "_Level", operand: Node) -> "_Level | None":
        if level.is_or_tail:
            level.is_or_tail = False
            level.disjunction.append(operand)
        else:
            span = (level.negation_start, self._position)
            level.conjunction.append(Not(operand, span) if level.negated else operand)
            level.negated = False
            self._blank()
            if self._take("and"):
                if self._blank():
                    return level
                if self._take("("):
                    return self._open(level, _LEVELS_OF_PARENTHESES)
                raise self._error("expected blank or '(' after 'and'")
            level.end_conjunction()
        self._blank()
        if not self._take("or"):
            return None
        if self._blank():
            return level
        if self._take("("):
            level.is_or_tail = True
            return self._open(level, _LEVELS_OF_PARENTHESES)
        raise self._error("expected blank or '(' after 'or'")

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
        return cast("Modifier", self._last)

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
