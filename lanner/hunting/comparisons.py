"""Comparisons of one value, as SQL: with the literals of a check, and with lists of indicators.

What SQL can't state exactly of a check has two bounds. A list of indicators has up to a million entries, networks and
ends of names among them, and SQL would need another implementation of what an entry matches. The events of a chunk have
few different values, so each is looked up once, in the table that rules use, and SQL joins with those that match.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa
from sqlglot import exp

from lanner.archive.schema import archived_text, restored_text
from lanner.hunting.columns import DIALECT, text_literal
from processor.compiler.operands import NET_TYPES, NUMBER_TYPES, STRING_TYPES, parse_literal, parse_net
from processor.compiler.operators import ORDER_OPERATORS, lower
from processor.indicators.lists import IndicatorList

SAME = frozenset({"=", "==", "in", "intersects"})
COMPARED = {"<": exp.LT, "<=": exp.LTE, ">": exp.GT, ">=": exp.GTE}
_UPPER, _LOWER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
_ARCHIVED_BYTE = "[\U0010ff80-\U0010ffff]"
"""The characters that stand for bytes that are not UTF-8: patterns match them differently."""
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_QUOTABLE = frozenset(".-/+*?()|[]{}^$_ ,:=@%&~#'\"")
_META = frozenset("\\^${")
_VALUE, _IS_NEW = "indicator_value", "is_new"
_AT_ONCE = 50_000
"""Values that are looked up at a time."""
IsNew = Callable[[IndicatorList, str], bool]
"""Returns whether a list has a value by one of its new entries."""


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


def constant(*, value: bool) -> exp.Expr:
    """Return a value that is true or false for each event."""
    return exp.true() if value else exp.false()


TRUE, FALSE = exp.true(), exp.false()
UNKNOWN = Bounds(TRUE, FALSE)


def conjunction(parts: Iterable[exp.Expr]) -> exp.Expr:
    """Return whether all of these are true."""
    return _joined(parts, exp.and_, neutral=TRUE, end=FALSE)


def disjunction(parts: Iterable[exp.Expr]) -> exp.Expr:
    """Return whether any of these is true."""
    return _joined(parts, exp.or_, neutral=FALSE, end=TRUE)


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
    if part in (TRUE, FALSE):
        return FALSE if part == TRUE else TRUE
    return exp.Not(this=sure(part))


def sure(part: exp.Expr) -> exp.Expr:
    """Return an expression that is false instead of NULL."""
    return exp.Coalesce(this=part, expressions=[exp.false()])


def call(name: str, *arguments: exp.Expr) -> exp.Expr:
    """Return a call of a function."""
    return exp.Anonymous(this=name, expressions=list(arguments))


def combined(parts: Sequence[Bounds], join: Callable[[Iterable[exp.Expr]], exp.Expr]) -> Bounds:
    """Return the bounds of parts that a function joins, which keeps their order."""
    may = join(part.may for part in parts)
    return Bounds(may) if all(part.is_exact for part in parts) else Bounds(may, join(part.lower for part in parts))


def negated(part: Bounds) -> Bounds:
    """Return the bounds of the opposite."""
    return Bounds(_not(part.may)) if part.is_exact else Bounds(_not(part.lower), _not(part.may))


def member(kind: str, texts: Sequence[str], value: exp.Expr) -> Bounds:
    """Return the bounds of whether a value is one of some literals."""
    if kind in NET_TYPES:
        return combined([_net(text, value) for text in texts], disjunction)
    if kind == "BYTEBUF":
        return UNKNOWN
    items = list(dict.fromkeys(parse_literal(text, kind) for text in texts))
    if not items:
        return Bounds(FALSE)
    if kind == "BOOL":
        parts = [value.copy() if item else exp.Not(this=value.copy()) for item in items]
        return Bounds(disjunction(parts))
    made = [_literal(item) for item in items]
    if len(made) == 1:
        return Bounds(exp.EQ(this=value, expression=made[0]))
    return Bounds(exp.In(this=value, expressions=made))


def _literal(item: object) -> exp.Expr:
    return text_literal(item) if isinstance(item, str) else exp.convert(item)


def compared(operator: str, kind: str, text: str, value: exp.Expr) -> Bounds:
    """Return the bounds of an operator between a value of a type and a literal."""
    if operator in SAME:
        return member(kind, [text], value)
    if kind in NET_TYPES:
        found = _net(text, value)
        # What isn't an address is not in the network either.
        return _present(negated(found), value) if operator == "!=" else UNKNOWN
    if kind == "BYTEBUF":
        return UNKNOWN
    if operator == "!=":
        item = parse_literal(text, kind)
        if kind == "BOOL":
            return Bounds(exp.Not(this=value) if item else value)
        return Bounds(exp.NEQ(this=value, expression=_literal(item)))
    if kind in NUMBER_TYPES and operator in ORDER_OPERATORS:
        return Bounds(COMPARED[operator](this=value, expression=_literal(parse_literal(text, kind))))
    if kind not in STRING_TYPES or archived_text(text) != text:
        return UNKNOWN
    return _text_test(operator, text, value)


def _text_test(operator: str, text: str, value: exp.Expr) -> Bounds:
    if operator in _PARTS:
        return Bounds(call(_PARTS[operator], value, text_literal(text)))
    if operator == "icontains":
        return Bounds(call("contains", _lowered(value), text_literal(lower(text))))
    if operator in ("glob", "iglob"):
        return _glob(text, value, fold=operator == "iglob")
    if operator == "regex":
        return _regex(text, value)
    if operator == "pmatch":
        return _below(text, value)
    # Bytes that are not UTF-8 have another order in the archive.
    return UNKNOWN


_PARTS = {"contains": "contains", "startswith": "starts_with", "endswith": "ends_with"}


def _lowered(value: exp.Expr) -> exp.Expr:
    # lower() also changes other characters than those of ASCII.
    return call("translate", value, exp.Literal.string(_UPPER), exp.Literal.string(_LOWER))


TRANSFORMED: dict[str, Callable[[exp.Expr], exp.Expr]] = {
    "tolower": _lowered,
    "toupper": lambda value: call("translate", value, exp.Literal.string(_LOWER), exp.Literal.string(_UPPER)),
    "basename": lambda value: call("regexp_extract", value, exp.Literal.string("[^/]*$")),
}


def _present(bounds: Bounds, value: exp.Expr) -> Bounds:
    given = exp.Not(this=exp.Is(this=value.copy(), expression=exp.null()))
    return combined([Bounds(given), bounds], conjunction)


def _net(text: str, value: exp.Expr) -> Bounds:
    """Return the bounds of a network: addresses are texts, so those of IPv4 are compared by their octets."""
    net = parse_net(text)
    if net.bits != 32:
        return Bounds(call("contains", value, exp.Literal.string(":")), FALSE)
    octets = [net.network >> shift & 255 for shift in (24, 16, 8, 0)]
    masks = [net.mask >> shift & 255 for shift in (24, 16, 8, 0)]
    parts = []
    for octet, mask in zip(octets, masks, strict=True):
        if mask == 0:
            parts.append(_OCTET)
        else:
            found = [str(each) for each in range(256) if each & mask == octet]
            parts.append(found[0] if len(found) == 1 else f"({'|'.join(found)})")
    return Bounds(call("regexp_full_match", value, exp.Literal.string("[.]".join(parts))))


def _patterned(value: exp.Expr, matched: exp.Expr) -> Bounds:
    """Return the bounds of a pattern: the engine decides on texts that are not UTF-8."""
    odd = call("regexp_matches", value.copy(), exp.Literal.string(_ARCHIVED_BYTE))
    return Bounds(disjunction([matched, odd]), conjunction([matched.copy(), exp.Not(this=odd.copy())]))


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
    return Bounds(found) if is_exact else Bounds(found, FALSE)


def _regex(pattern: str, value: exp.Expr) -> Bounds:
    """Return the bounds of a regular expression: DuckDB uses RE2 as well, in another syntax."""
    if not _means_the_same(pattern):
        return UNKNOWN
    return _patterned(value, call("regexp_full_match", value, text_literal(pattern)))


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
        return _present(Bounds(TRUE), value)
    is_exact = not any(letter in part for part in parts for letter in "*?[")
    inner = ["[^/]+" if any(letter in part for letter in "*?[") else "".join(map(_quoted, part)) for part in parts]
    pattern = f"(?s)/*{'/+'.join(inner)}(/.*)?"
    found = call("regexp_full_match", value, text_literal(pattern))
    return Bounds(found) if is_exact else Bounds(found, FALSE)


def _quoted(letter: str) -> str:
    """Return a character as it stands for itself in a pattern."""
    return letter if letter.isalnum() or not letter.isascii() or letter == "_" else f"\\x{ord(letter):02x}"


@dataclass(frozen=True, slots=True)
class Lookup:
    """A value of each event, or a list of them, that a condition looks up."""

    table: str
    """The table of the values that an entry has."""
    value: exp.Expr
    is_list: bool
    lists: tuple[IndicatorList, ...]

    def found(self, *, only_new: bool = False) -> exp.Expr:
        """Return whether an entry has the event's value, or one of its values. only_new: by a new entry."""
        values = exp.select(_VALUE).from_(self.table)
        if only_new:
            values = values.where(exp.column(_IS_NEW))
        if not self.is_list:
            return exp.In(this=self.value.copy(), query=values.subquery())
        listed = exp.Anonymous(this="list", expressions=[exp.column(_VALUE)])
        some = exp.Coalesce(this=listed, expressions=[exp.Array()])
        whole = exp.select(some).from_(self.table)
        if only_new:
            whole = whole.where(exp.column(_IS_NEW))
        return exp.Anonymous(this="list_has_any", expressions=[self.value.copy(), whole.subquery()])

    def fill(
        self, connection: duckdb.DuckDBPyConnection, chunk: str, where: exp.Expr, is_new: IsNew | None = None
    ) -> int:
        """Make the table for a chunk of events, and return how many values are in new entries.

        Args:
            connection: whose table it is.
            chunk: the events.
            where: which of them are read.
            is_new: tells new entries from others; None if it doesn't matter.
        """
        value = exp.Anonymous(this="unnest", expressions=[self.value.copy()]) if self.is_list else self.value.copy()
        query = exp.select(exp.alias_(value, _VALUE)).distinct().from_(chunk).where(where.copy())
        found: list[str] = []
        for batch in connection.sql(query.sql(DIALECT, copy=False)).to_arrow_reader(_AT_ONCE):
            found += [each for each in batch.column(0).to_pylist() if each is not None and self._holds(each)]
        new = [is_new is not None and self._is_new(each, is_new) for each in found]
        rows = pa.table({_VALUE: pa.array(found, pa.string()), _IS_NEW: pa.array(new, pa.bool_())})
        connection.register(self.table, rows)
        return sum(new)

    def _holds(self, archived: str) -> bool:
        value = restored_text(archived)
        return any(each.holds(value) for each in self.lists)

    def _is_new(self, archived: str, is_new: IsNew) -> bool:
        value = restored_text(archived)
        return any(is_new(each, value) for each in self.lists)


class Lookups:
    """The look-ups of a condition; equal ones have one table."""

    def __init__(self) -> None:
        """Begin without any."""
        self.all: list[Lookup] = []

    def add(self, value: exp.Expr, lists: Sequence[IndicatorList], *, is_list: bool) -> Lookup:
        """Return the look-up of a value."""
        for each in self.all:
            if each.value == value and each.lists == tuple(lists):
                return each
        made = Lookup(f"indicators_{len(self.all)}", value.copy(), is_list, tuple(lists))
        self.all.append(made)
        return made
