"""Translates conditions to SQL: what SQL can state exactly, and bounds of what it can't.

A condition lies between two expressions: ``may`` is true of each event that matches, ``must`` of no other event. Where
both are equal, SQL decides; between them, the engine does. A missing value makes a comparison false in a condition and
NULL in SQL, which WHERE, AND and OR treat alike; so only NOT needs COALESCE.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from sqlglot import exp

from lanner.archive.schema import archived_text
from lanner.hunting.columns import DIALECT, FieldColumn, field_column, of_types, reads_name, text_literal
from processor.compiler.literals import ADDRESS_TYPES, NET_TYPES, NUMBER_TYPES, STRING_TYPES, parse_literal, parse_net
from processor.compiler.operators import ORDER_OPERATORS, lower
from processor.compiler.simplify import simplify
from processor.compiler.types import field_shape, side_shape
from processor.fields.process import CAPABILITIES
from processor.language.ast import (
    EXPRESSION_DEPTH,
    Ancestor,
    And,
    Check,
    Field,
    FieldValue,
    Literal,
    Macro,
    Node,
    Not,
    Or,
    Transformer,
    ValueList,
    checks,
    deep,
    fields_in,
    literals,
)
from processor.language.event_types import ALL_EVENT_TYPES, event_types
from processor.language.printer import print_condition

_SAME = frozenset({"=", "==", "in", "intersects"})
_COMPARED = {"<": exp.LT, "<=": exp.LTE, ">": exp.GT, ">=": exp.GTE}
_UPPER, _LOWER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
_ARCHIVED_BYTE = "[\U0010ff80-\U0010ffff]"
"""The characters that stand for bytes that are not UTF-8: patterns match them differently."""
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_QUOTABLE = frozenset(".-/+*?()|[]{}^$_ ,:=@%&~#'\"")
_META = frozenset("\\^${")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is true of all events that match, and of no others; None is the same as `may`."""

    may: exp.Expr
    must: exp.Expr | None = None

    @property
    def lower(self) -> exp.Expr:
        """The bound from below."""
        return self.may if self.must is None else self.must

    @property
    def is_exact(self) -> bool:
        """True if SQL decides."""
        return self.must is None


@dataclass(frozen=True, slots=True)
class SqlCondition:
    """A condition as SQL."""

    may: exp.Expr
    must: exp.Expr
    is_exact: bool
    engine: tuple[str, ...] = ()
    """The parts that the engine decides."""


def to_sql(condition: Node) -> SqlCondition:
    """Translate a condition whose macros are resolved, and which has no errors."""
    with deep():
        folded = simplify(condition)
        if isinstance(folded, bool):
            value = _constant(value=folded)
            return SqlCondition(value, value, is_exact=True)
        undecided: dict[str, None] = {}
        parts = list(_conjuncts(folded))
        named = [part for part in parts if _named(part)]
        lexical = _Translator(undecided, real=False)
        bounds = [lexical.bounds(part) for part in parts if part not in named]
        if named:
            bounds.append(_under_both_names(named, undecided))
        types = event_types(folded)
        if types != ALL_EVENT_TYPES:
            # Parquet's statistics exclude rows by it, also where the condition is an `or`.
            bounds.insert(0, Bounds(of_types(types)))
        found = _combined(bounds, _and)
        return SqlCondition(found.may, found.lower, found.is_exact, tuple(undecided))


def _under_both_names(parts: Sequence[Node], undecided: dict[str, None]) -> Bounds:
    """Return the bounds of conditions on a file, which it may meet by the name that was passed or by the kernel's."""
    lexical, real = (
        _combined([_Translator(undecided, real=each).bounds(part) for part in parts], _and) for each in (False, True)
    )
    name, other = exp.column("fd_name"), exp.column("fd_realpath")
    has_other = exp.and_(
        exp.Not(this=exp.Is(this=other, expression=exp.null())),
        exp.Not(this=exp.NullSafeEQ(this=other.copy(), expression=name)),
    )
    return _combined([lexical, _combined([Bounds(has_other), real], _and)], _or)


def _conjuncts(node: Node) -> Iterator[Node]:
    if isinstance(node, Macro):
        yield from _conjuncts(node.body)
    elif isinstance(node, And):
        for child in node.children:
            yield from _conjuncts(child)
    else:
        yield node


def _named(node: Node) -> bool:
    """Return whether the name of a file matters to a condition."""
    return any(
        reads_name(each.name)
        for check in checks(node)
        for side in (check.left, check.right)
        for each in fields_in(side)
    )


def _constant(*, value: bool) -> exp.Expr:
    return exp.true() if value else exp.false()


_TRUE, _FALSE = exp.true(), exp.false()
_UNKNOWN = Bounds(_TRUE, _FALSE)


def _and(parts: Iterable[exp.Expr]) -> exp.Expr:
    return _joined(parts, exp.and_, neutral=_TRUE, end=_FALSE)


def _or(parts: Iterable[exp.Expr]) -> exp.Expr:
    return _joined(parts, exp.or_, neutral=_FALSE, end=_TRUE)


def _joined(parts: Iterable[exp.Expr], join: Callable[..., exp.Expr], *, neutral: exp.Expr, end: exp.Expr) -> exp.Expr:
    left: list[exp.Expr] = []
    for part in parts:
        if part == end:
            return end
        if part != neutral:
            left.append(part)
    # Copies of all that is below, at each level, would take most of the time.
    return join(*left, copy=False) if len(left) > 1 else left[0] if left else neutral


def _not(part: exp.Expr) -> exp.Expr:
    if part in (_TRUE, _FALSE):
        return _FALSE if part == _TRUE else _TRUE
    return exp.Not(this=_sure(part))


def _sure(part: exp.Expr) -> exp.Expr:
    """Return an expression that is false instead of NULL."""
    return exp.Coalesce(this=part, expressions=[exp.false()])


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=list(arguments))


def _combined(parts: Sequence[Bounds], join: Callable[[Iterable[exp.Expr]], exp.Expr]) -> Bounds:
    may = join(part.may for part in parts)
    return Bounds(may) if all(part.is_exact for part in parts) else Bounds(may, join(part.lower for part in parts))


def _negated(part: Bounds) -> Bounds:
    return Bounds(_not(part.may)) if part.is_exact else Bounds(_not(part.lower), _not(part.may))


@dataclass(slots=True)
class _Translator:
    undecided: dict[str, None]
    real: bool
    """Use the file's name as the kernel resolved it."""
    of_ancestor: bool = False
    """Fields are those of one of the ancestors."""
    depth: int = 0

    def bounds(self, node: Node) -> Bounds:
        if self.depth >= EXPRESSION_DEPTH:
            return self._undecided(node)
        if isinstance(node, Macro):
            return self.bounds(node.body)
        if isinstance(node, Check):
            found = self._check(node)
            if not found.is_exact:
                self.undecided[print_condition(node)] = None
            return found
        self.depth += 1
        try:
            if isinstance(node, Not):
                return _negated(self.bounds(node.child))
            if isinstance(node, And | Or):
                parts = [self.bounds(child) for child in node.children]
                return _combined(parts, _and if isinstance(node, And) else _or)
        finally:
            self.depth -= 1
        if isinstance(node, Ancestor) and not self.of_ancestor:
            inner = _Translator({}, real=self.real, of_ancestor=True).bounds(node.condition)
            if inner.is_exact:
                return Bounds(_is_any(exp.column(_ALL), ("ancestor", "position"), inner.may))
        return self._undecided(node)

    def _undecided(self, node: Node) -> Bounds:
        self.undecided[print_condition(node)] = None
        return _UNKNOWN

    def _check(self, node: Check) -> Bounds:
        """Return the bounds of a check; those of one that SQL can't state are true and false."""
        left = self._operand(node.left)
        if left is None:
            return _UNKNOWN
        kind = side_shape(node.left).kind
        if node.operator == "exists":
            return _exists(left)
        if left.form == "bits":
            return _capabilities(node, left.values[0])
        if isinstance(node.right, FieldValue | Transformer):
            return self._fields(node, left, kind)
        if not isinstance(node.right, Literal | ValueList) or node.operator == "in_indicators":
            return _UNKNOWN
        texts = [item.text for item in literals(node)]
        if node.modifier is None and node.operator in _SAME:
            single: list[Test] = [partial(_member, kind, texts)]
        elif node.operator == "pmatch" and node.modifier is None:
            single = [lambda value: _combined([_test("pmatch", kind, text, value) for text in texts], _or)]
        else:
            single = [partial(_test, node.operator, kind, text) for text in texts]
        ends = kind in ADDRESS_TYPES or kind in NET_TYPES or kind == "PORT"
        each = [_over(left, test, every=ends and node.operator == "!=") for test in single]
        return each[0] if node.modifier is None else _counted(each, node.modifier)

    def _operand(self, side: Field | Transformer | Literal | FieldValue) -> FieldColumn | None:
        if isinstance(side, FieldValue):
            side = side.field
        if isinstance(side, Field):
            shape = field_shape(side)
            column = field_column(shape.field.name, shape.argument, real=self.real)
            return column if column is None or not self.of_ancestor else _of_ancestor(column)
        if not isinstance(side, Transformer) or len(side.arguments) != 1 or side.argument is not None:
            return None
        inner = side.arguments[0]
        made = _TRANSFORMED.get(side.name)
        if made is None or not isinstance(inner, Field | Transformer) or side_shape(inner).kind not in STRING_TYPES:
            return None
        operand = self._operand(inner)
        if operand is None or operand.form != "value":
            return None
        return FieldColumn((made(operand.values[0]),))

    def _fields(self, node: Check, left: FieldColumn, kind: str) -> Bounds:
        right = self._operand(node.right)  # type: ignore[arg-type]
        if right is None or left.form != "value" or right.form != "value":
            return _UNKNOWN
        one, other = left.values[0], right.values[0].copy()
        if node.operator in _SAME:
            return Bounds(exp.EQ(this=one, expression=other))
        if node.operator == "!=":
            return Bounds(exp.NEQ(this=one, expression=other))
        if node.operator in _COMPARED and kind in NUMBER_TYPES:
            return Bounds(_COMPARED[node.operator](this=one, expression=other))
        return _UNKNOWN


def _capabilities(node: Check, mask: exp.Expr) -> Bounds:
    """Return the bounds of a test of a set of capabilities, whose text has their names with blanks between them."""
    texts = [item.text for item in literals(node)]
    if node.operator != "contains" or not texts or any(not text or " " in text for text in texts):
        return _UNKNOWN
    each = []
    for text in texts:
        bits = sum(1 << bit for bit, name in enumerate(CAPABILITIES) if text in name)
        has = exp.BitwiseAnd(
            this=mask.copy(), expression=exp.cast(exp.Literal.number(bits), "UBIGINT", dialect=DIALECT)
        )
        each.append(Bounds(exp.NEQ(this=exp.paren(has), expression=exp.Literal.number(0))))
    return _counted(each, node.modifier) if node.modifier else each[0]


def _exists(operand: FieldColumn) -> Bounds:
    if operand.form == "list":
        return Bounds(exp.GT(this=_call("len", operand.values[0]), expression=exp.Literal.number(0)))
    return Bounds(_or([exp.Not(this=exp.Is(this=value, expression=exp.null())) for value in operand.values]))


Test = Callable[[exp.Expr], Bounds]


def _over(operand: FieldColumn, test: Test, *, every: bool) -> Bounds:
    """Return the bounds of a test of any of an operand's values, or of each of them that is not missing."""
    if operand.form == "list":
        return _over_list(operand.values[0], test)
    parts = [test(value.copy()) for value in operand.values]
    if not every or len(parts) == 1:
        return _combined(parts, _or)
    present = _exists(operand).may

    def all_of(bounds: Iterable[exp.Expr]) -> exp.Expr:
        tests = [
            _or([exp.Is(this=value.copy(), expression=exp.null()), bound])
            for bound, value in zip(bounds, operand.values, strict=True)
        ]
        return _and([present.copy(), *tests])

    return _combined(parts, all_of)


def _over_list(values: exp.Expr, test: Test) -> Bounds:
    found = test(exp.column("each"))
    may = _is_any(values, ("each",), found.may)
    return Bounds(may) if found.is_exact else Bounds(may, _is_any(values.copy(), ("each",), found.lower))


def _is_any(values: exp.Expr, names: Sequence[str], test: exp.Expr) -> exp.Expr:
    """Return whether a test is true of any element of a list."""
    chosen = exp.Lambda(this=test, expressions=[exp.to_identifier(name) for name in names])
    return exp.GT(this=_call("len", _call("list_filter", values, chosen)), expression=exp.Literal.number(0))


_OF_PROCESS = "proc_"


def _of_ancestor(column: FieldColumn) -> FieldColumn | None:
    """Return a process's field as that of an element of `ancestors`; None if it is not about such processes alone."""
    values = tuple(value.transform(_within_ancestors) for value in column.values)
    if column.form == "list":
        return None
    if any(each.table not in ("ancestor", "") for value in values for each in value.find_all(exp.Column)):
        return None
    names = {each.name for value in values for each in value.find_all(exp.Column) if not each.table}
    return None if names - {"position", _ALL} else FieldColumn(values, column.form)


_ALL = "ancestors"


def _within_ancestors(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Bracket) and node.this == exp.column(_ALL) and isinstance(node.expressions[0], exp.Literal):
        above = exp.Literal.number(int(node.expressions[0].name) + 1)
        return _call("list_extract", exp.column(_ALL), exp.Add(this=exp.column("position"), expression=above))
    if isinstance(node, exp.Column) and node.name.startswith(_OF_PROCESS):
        return exp.column(node.name.removeprefix(_OF_PROCESS), table="ancestor")
    return node


def _counted(parts: Sequence[Bounds], modifier: str) -> Bounds:
    if not parts:
        return Bounds(_FALSE)
    if modifier in ("anyof", "allof"):
        return _combined(parts, _or if modifier == "anyof" else _and)
    if not all(part.is_exact for part in parts):
        return Bounds(_or(part.may for part in parts), _FALSE)
    numbers = [exp.cast(_sure(part.may), "INTEGER") for part in parts]
    total: exp.Expr = numbers[0]
    for number in numbers[1:]:
        total = exp.Add(this=total, expression=number)
    return Bounds(exp.EQ(this=exp.paren(total), expression=exp.Literal.number(1)))


def _member(kind: str, texts: Sequence[str], value: exp.Expr) -> Bounds:
    if kind in NET_TYPES:
        return _combined([_net(text, value) for text in texts], _or)
    if kind == "BYTEBUF":
        return _UNKNOWN
    items = list(dict.fromkeys(parse_literal(text, kind) for text in texts))
    if not items:
        return Bounds(_FALSE)
    if kind == "BOOL":
        parts = [value.copy() if item else exp.Not(this=value.copy()) for item in items]
        return Bounds(_or(parts))
    made = [_literal(item) for item in items]
    if len(made) == 1:
        return Bounds(exp.EQ(this=value, expression=made[0]))
    return Bounds(exp.In(this=value, expressions=made))


def _literal(item: object) -> exp.Expr:
    return text_literal(item) if isinstance(item, str) else exp.convert(item)


def _test(operator: str, kind: str, text: str, value: exp.Expr) -> Bounds:
    """Return the bounds of an operator between a value of a type and a literal."""
    if operator in _SAME:
        return _member(kind, [text], value)
    if kind in NET_TYPES:
        found = _net(text, value)
        # What isn't an address is not in the network either.
        return _present(_negated(found), value) if operator == "!=" else _UNKNOWN
    if kind == "BYTEBUF":
        return _UNKNOWN
    if operator == "!=":
        item = parse_literal(text, kind)
        if kind == "BOOL":
            return Bounds(exp.Not(this=value) if item else value)
        return Bounds(exp.NEQ(this=value, expression=_literal(item)))
    if kind in NUMBER_TYPES and operator in ORDER_OPERATORS:
        return Bounds(_COMPARED[operator](this=value, expression=_literal(parse_literal(text, kind))))
    if kind not in STRING_TYPES or archived_text(text) != text:
        return _UNKNOWN
    return _text_test(operator, text, value)


def _text_test(operator: str, text: str, value: exp.Expr) -> Bounds:
    if operator in _PARTS:
        return Bounds(_call(_PARTS[operator], value, text_literal(text)))
    if operator == "icontains":
        return Bounds(_call("contains", _lowered(value), text_literal(lower(text))))
    if operator in ("glob", "iglob"):
        return _glob(text, value, fold=operator == "iglob")
    if operator == "regex":
        return _regex(text, value)
    if operator == "pmatch":
        return _below(text, value)
    # Bytes that are not UTF-8 have another order in the archive.
    return _UNKNOWN


_PARTS = {"contains": "contains", "startswith": "starts_with", "endswith": "ends_with"}


def _lowered(value: exp.Expr) -> exp.Expr:
    # lower() also changes other characters than those of ASCII.
    return _call("translate", value, exp.Literal.string(_UPPER), exp.Literal.string(_LOWER))


_TRANSFORMED: dict[str, Callable[[exp.Expr], exp.Expr]] = {
    "tolower": _lowered,
    "toupper": lambda value: _call("translate", value, exp.Literal.string(_LOWER), exp.Literal.string(_UPPER)),
    "basename": lambda value: _call("regexp_extract", value, exp.Literal.string("[^/]*$")),
}


def _present(bounds: Bounds, value: exp.Expr) -> Bounds:
    given = exp.Not(this=exp.Is(this=value.copy(), expression=exp.null()))
    return _combined([Bounds(given), bounds], _and)


def _net(text: str, value: exp.Expr) -> Bounds:
    """Return the bounds of a network: addresses are texts, so those of IPv4 are compared by their octets."""
    net = parse_net(text)
    if net.bits != 32:
        return Bounds(_call("contains", value, exp.Literal.string(":")), _FALSE)
    octets = [net.network >> shift & 255 for shift in (24, 16, 8, 0)]
    masks = [net.mask >> shift & 255 for shift in (24, 16, 8, 0)]
    parts = []
    for octet, mask in zip(octets, masks, strict=True):
        if mask == 0:
            parts.append(_OCTET)
        else:
            found = [str(each) for each in range(256) if each & mask == octet]
            parts.append(found[0] if len(found) == 1 else f"({'|'.join(found)})")
    return Bounds(_call("regexp_full_match", value, exp.Literal.string("[.]".join(parts))))


def _patterned(value: exp.Expr, matched: exp.Expr) -> Bounds:
    """Return the bounds of a pattern: the engine decides on texts that are not UTF-8."""
    odd = _call("regexp_matches", value.copy(), exp.Literal.string(_ARCHIVED_BYTE))
    return Bounds(_or([matched, odd]), _and([matched.copy(), exp.Not(this=odd.copy())]))


def _glob(pattern: str, value: exp.Expr, *, fold: bool) -> Bounds:
    """Return the bounds of a pattern of the shell: exact for asterisks, which are % in SQL."""
    parts, is_exact, index = [], True, 0
    while index < len(pattern):
        letter = pattern[index]
        index += 1
        if letter in "?[":
            is_exact = False
            parts.append("%")
            if letter == "[":
                break
            continue
        if letter == "\\" and index < len(pattern):
            letter = pattern[index]
            index += 1
        elif letter == "*":
            parts.append("%")
            continue
        parts.append(f"\\{letter}" if letter in "%_\\" else letter)
    made = exp.Like(
        this=_lowered(value) if fold else value,
        expression=text_literal(lower("".join(parts)) if fold else "".join(parts)),
    )
    found = exp.Escape(this=made, expression=exp.Literal.string("\\"))
    return Bounds(found) if is_exact else Bounds(found, _FALSE)


def _regex(pattern: str, value: exp.Expr) -> Bounds:
    """Return the bounds of a regular expression: DuckDB uses RE2 as well, in another syntax."""
    if not _means_the_same(pattern):
        return _UNKNOWN
    return _patterned(value, _call("regexp_full_match", value, text_literal(pattern)))


def _means_the_same(pattern: str) -> bool:
    """Return whether a pattern is the same in POSIX's and in Perl's syntax."""
    inner = pattern.removeprefix("^")
    if inner.endswith("$") and not inner.endswith("\\$"):
        inner = inner[:-1]
    index = 0
    while index < len(inner):
        letter = inner[index]
        index += 1
        if letter == "\\":
            if inner[index : index + 1] not in _QUOTABLE or not inner[index : index + 1]:
                return False
            index += 1
        elif letter == "[":
            end = inner.find("]", index + 2)
            members = inner[index:end]
            if end < 0 or "[" in members or "\\" in members:
                return False
            index = end + 1
        elif letter in _META or (letter == "(" and inner[index : index + 1] == "?"):
            return False
    return True


def _below(path: str, value: exp.Expr) -> Bounds:
    """Return the bounds of a path and what is below it: exact without patterns."""
    parts = [part for part in path.split("/") if part]
    if not parts:
        return _present(Bounds(_TRUE), value)
    is_exact = not any(letter in part for part in parts for letter in "*?[")
    inner = ["[^/]+" if any(letter in part for letter in "*?[") else "".join(map(_quoted, part)) for part in parts]
    pattern = f"(?s)/*{'/+'.join(inner)}(/.*)?"
    found = _call("regexp_full_match", value, text_literal(pattern))
    return Bounds(found) if is_exact else Bounds(found, _FALSE)


def _quoted(letter: str) -> str:
    """Return a character as it stands for itself in a pattern."""
    return letter if letter.isalnum() or not letter.isascii() or letter == "_" else f"\\x{ord(letter):02x}"
