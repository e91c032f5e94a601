"""Translates conditions to SQL: what SQL can state exactly, and bounds of what it can't.

A condition lies between two expressions: ``may`` is true of each event that matches, ``must`` of no other event. Where
both are equal, SQL decides; between them, the engine does. A missing value makes a comparison false in a condition and
NULL in SQL, which WHERE, AND and OR treat alike; so only NOT needs COALESCE.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from sqlglot import exp

from lanner.hunting.columns import ANCESTORS, DIALECT, FieldColumn, field_column, of_types, reads_name
from lanner.hunting.comparisons import (
    COMPARED,
    FALSE,
    SAME,
    TRANSFORMED,
    UNKNOWN,
    Bounds,
    Lookup,
    Lookups,
    call,
    combined,
    compared,
    conjunction,
    constant,
    disjunction,
    member,
    negated,
    sure,
)
from processor.compiler.operands import ADDRESS_TYPES, NET_TYPES, NUMBER_TYPES, STRING_TYPES, field_shape, side_shape
from processor.compiler.simplify import simplify
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
    indicators_in,
    literals,
)
from processor.language.event_types import ALL_EVENT_TYPES, event_types
from processor.language.printer import print_condition
from processor.language.tokens import IN_INDICATORS


@dataclass(frozen=True, slots=True)
class SqlCondition:
    """A condition as SQL."""

    may: exp.Expr
    must: exp.Expr
    is_exact: bool
    engine: tuple[str, ...] = ()
    """The parts that the engine decides."""
    lookups: tuple[Lookup, ...] = ()
    """The values that are looked up in lists of indicators, whose tables the expressions read."""


def to_sql(condition: Node, *, without_ancestors: bool = False) -> SqlCondition:
    """Translate a condition whose macros are resolved, and which has no errors.

    without_ancestors: make bounds that don't read the ancestors of processes, which are most of a file's bytes.
    """
    with deep():
        folded = simplify(condition)
        if isinstance(folded, bool):
            value = constant(value=folded)
            return SqlCondition(value, value, is_exact=True)
        undecided: dict[str, None] = {}
        lookups = Lookups()
        parts = list(_conjuncts(folded))
        named = [part for part in parts if _named(part)]
        lexical, real = (
            _Translator(undecided, lookups, real=each, without_ancestors=without_ancestors) for each in (False, True)
        )
        bounds = [lexical.bounds(part) for part in parts if part not in named]
        if named:
            bounds.append(_under_both_names(named, lexical, real))
        types = event_types(folded)
        if types != ALL_EVENT_TYPES:
            # Parquet's statistics exclude rows by it, also where the condition is an `or`.
            bounds.insert(0, Bounds(of_types(types)))
        found = combined(bounds, conjunction)
        return SqlCondition(found.may, found.lower, found.is_exact, tuple(undecided), tuple(lookups.all))


def _under_both_names(parts: Sequence[Node], by_passed: "_Translator", by_kernel: "_Translator") -> Bounds:
    """Return the bounds of conditions on a file, which it may meet by the name that was passed or by the kernel's."""
    lexical, real = (combined([each.bounds(part) for part in parts], conjunction) for each in (by_passed, by_kernel))
    name, other = exp.column("fd_name"), exp.column("fd_realpath")
    has_other = exp.and_(
        exp.Not(this=exp.Is(this=other, expression=exp.null())),
        exp.Not(this=exp.NullSafeEQ(this=other.copy(), expression=name)),
    )
    return combined([lexical, combined([Bounds(has_other), real], conjunction)], disjunction)


def reads_ancestors(values: Iterable[exp.Expr]) -> bool:
    """Return whether expressions read the ancestors of a process."""
    return any(each.name == ANCESTORS for value in values for each in value.find_all(exp.Column))


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


@dataclass(slots=True)
class _Translator:
    undecided: dict[str, None]
    lookups: Lookups
    real: bool
    """Use the file's name as the kernel resolved it."""
    of_ancestor: bool = False
    """Fields are those of one of the ancestors."""
    without_ancestors: bool = False
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
                return negated(self.bounds(node.child))
            if isinstance(node, And | Or):
                parts = [self.bounds(child) for child in node.children]
                return combined(parts, conjunction if isinstance(node, And) else disjunction)
        finally:
            self.depth -= 1
        if isinstance(node, Ancestor) and not self.of_ancestor and not self.without_ancestors:
            inner = _Translator({}, self.lookups, real=self.real, of_ancestor=True).bounds(node.condition)
            if inner.is_exact:
                return Bounds(_is_any(exp.column(ANCESTORS), ("ancestor", "position"), inner.may))
        return self._undecided(node)

    def _undecided(self, node: Node) -> Bounds:
        self.undecided[print_condition(node)] = None
        return UNKNOWN

    def _check(self, node: Check) -> Bounds:
        """Return the bounds of a check; those of one that SQL can't state are true and false."""
        left = self._operand(node.left)
        if left is None:
            return UNKNOWN
        kind = side_shape(node.left).kind
        if node.operator == "exists":
            return _exists(left)
        if left.form == "bits":
            return _capabilities(node, left.values[0])
        if isinstance(node.right, FieldValue | Transformer):
            return self._fields(node, left, kind)
        if not isinstance(node.right, Literal | ValueList):
            return UNKNOWN
        if node.operator == IN_INDICATORS:
            return self._indicators(node, left)
        texts = [item.text for item in literals(node)]
        if node.modifier is None and node.operator in SAME:
            single: list[Test] = [partial(member, kind, texts)]
        elif node.operator == "pmatch" and node.modifier is None:
            single = [lambda value: combined([compared("pmatch", kind, text, value) for text in texts], disjunction)]
        else:
            single = [partial(compared, node.operator, kind, text) for text in texts]
        ends = kind in ADDRESS_TYPES or kind in NET_TYPES or kind == "PORT"
        each = [_over(left, test, every=ends and node.operator == "!=") for test in single]
        return each[0] if node.modifier is None else _counted(each, node.modifier)

    def _indicators(self, node: Check, left: FieldColumn) -> Bounds:
        if self.of_ancestor or self.without_ancestors or node.modifier is not None:
            # Each of an event's ancestors has a value; and no table is filled for bounds without ancestors.
            return UNKNOWN
        lists, is_list = indicators_in(node), left.form == "list"
        found = (self.lookups.add(value, lists, is_list=is_list).found() for value in left.values)
        return Bounds(disjunction(found))

    def _operand(self, side: Field | Transformer | Literal | FieldValue) -> FieldColumn | None:
        if isinstance(side, FieldValue):
            side = side.field
        if isinstance(side, Field):
            shape = field_shape(side)
            column = field_column(shape.field.name, shape.argument, real=self.real)
            if self.without_ancestors and column is not None and reads_ancestors(column.values):
                return None
            return column if column is None or not self.of_ancestor else _of_ancestor(column)
        if not isinstance(side, Transformer) or len(side.arguments) != 1 or side.argument is not None:
            return None
        inner = side.arguments[0]
        made = TRANSFORMED.get(side.name)
        if made is None or not isinstance(inner, Field | Transformer) or side_shape(inner).kind not in STRING_TYPES:
            return None
        operand = self._operand(inner)
        if operand is None or operand.form != "value":
            return None
        return FieldColumn((made(operand.values[0]),))

    def _fields(self, node: Check, left: FieldColumn, kind: str) -> Bounds:
        right = self._operand(node.right)  # type: ignore[arg-type]
        if right is None or left.form != "value" or right.form != "value":
            return UNKNOWN
        one, other = left.values[0], right.values[0].copy()
        if node.operator in SAME:
            return Bounds(exp.EQ(this=one, expression=other))
        if node.operator == "!=":
            return Bounds(exp.NEQ(this=one, expression=other))
        if node.operator in COMPARED and kind in NUMBER_TYPES:
            return Bounds(COMPARED[node.operator](this=one, expression=other))
        return UNKNOWN


def _capabilities(node: Check, mask: exp.Expr) -> Bounds:
    """Return the bounds of a test of a set of capabilities, whose text has their names with blanks between them."""
    texts = [item.text for item in literals(node)]
    if node.operator != "contains" or not texts or any(not text or " " in text for text in texts):
        return UNKNOWN
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
        return Bounds(exp.GT(this=call("len", operand.values[0]), expression=exp.Literal.number(0)))
    return Bounds(disjunction([exp.Not(this=exp.Is(this=value, expression=exp.null())) for value in operand.values]))


Test = Callable[[exp.Expr], Bounds]


def _over(operand: FieldColumn, test: Test, *, every: bool) -> Bounds:
    """Return the bounds of a test of any of an operand's values, or of each of them that is not missing."""
    if operand.form == "list":
        return _over_list(operand.values[0], test)
    parts = [test(value.copy()) for value in operand.values]
    if not every or len(parts) == 1:
        return combined(parts, disjunction)
    present = _exists(operand).may

    def all_of(bounds: Iterable[exp.Expr]) -> exp.Expr:
        tests = [
            disjunction([exp.Is(this=value.copy(), expression=exp.null()), bound])
            for bound, value in zip(bounds, operand.values, strict=True)
        ]
        return conjunction([present.copy(), *tests])

    return combined(parts, all_of)


def _over_list(values: exp.Expr, test: Test) -> Bounds:
    found = test(exp.column("each"))
    may = _is_any(values, ("each",), found.may)
    return Bounds(may) if found.is_exact else Bounds(may, _is_any(values.copy(), ("each",), found.lower))


def _is_any(values: exp.Expr, names: Sequence[str], test: exp.Expr) -> exp.Expr:
    """Return whether a test is true of any element of a list."""
    chosen = exp.Lambda(this=test, expressions=[exp.to_identifier(name) for name in names])
    return exp.GT(this=call("len", call("list_filter", values, chosen)), expression=exp.Literal.number(0))


_OF_PROCESS = "proc_"


def _of_ancestor(column: FieldColumn) -> FieldColumn | None:
    """Return a process's field as that of an element of `ancestors`; None if it is not about such processes alone."""
    values = tuple(value.transform(_within_ancestors) for value in column.values)
    if column.form == "list":
        return None
    if any(each.table not in ("ancestor", "") for value in values for each in value.find_all(exp.Column)):
        return None
    names = {each.name for value in values for each in value.find_all(exp.Column) if not each.table}
    return None if names - {"position", ANCESTORS} else FieldColumn(values, column.form)


def _within_ancestors(node: exp.Expr) -> exp.Expr:
    if (
        isinstance(node, exp.Bracket)
        and node.this == exp.column(ANCESTORS)
        and isinstance(node.expressions[0], exp.Literal)
    ):
        above = exp.Literal.number(int(node.expressions[0].name) + 1)
        return call("list_extract", exp.column(ANCESTORS), exp.Add(this=exp.column("position"), expression=above))
    if isinstance(node, exp.Column) and node.name.startswith(_OF_PROCESS):
        return exp.column(node.name.removeprefix(_OF_PROCESS), table="ancestor")
    return node


def _counted(parts: Sequence[Bounds], modifier: str) -> Bounds:
    if not parts:
        return Bounds(FALSE)
    if modifier in ("anyof", "allof"):
        return combined(parts, disjunction if modifier == "anyof" else conjunction)
    if not all(part.is_exact for part in parts):
        return Bounds(disjunction(part.may for part in parts), FALSE)
    numbers = [exp.cast(sure(part.may), "INTEGER") for part in parts]
    total: exp.Expr = numbers[0]
    for number in numbers[1:]:
        total = exp.Add(this=total, expression=number)
    return Bounds(exp.EQ(this=exp.paren(total), expression=exp.Literal.number(1)))
