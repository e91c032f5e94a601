"""What a hunt returns of the events that match: rows, groups, a count or a timeline, as queries, without secrets.

Events are read in chunks. A chunk's query makes a small table of it, merging makes one of several, and the last query
makes the result; so a hunt over months needs the memory of its result, and one that is stopped has what it found.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import pyarrow as pa
from sqlglot import exp

from foundation.quantities import iso8601_zulu
from lanner.archive.schema import archived_text, restored_text
from lanner.hunting.columns import column_name
from processor.output.redaction import Redaction

FOUND, CHUNK = "found", "chunk"
"""Tables: what has been found so far, and the events that are read now."""
DEFAULT_FIELDS = (
    *("evt.hostname", "evt.type", "proc.name", "proc.pid", "user.name", "proc.cmdline", "fd.name", "container.name"),
)
HOST = "evt.hostname"
_COUNT, _FIRST, _LAST = "events", "first_seen", "last_seen"


@dataclass(frozen=True, slots=True)
class HuntResult:
    """What to return."""

    group_by: tuple[str, ...] = ()
    """Fields: return one row for each combination of their values, the most frequent first."""
    fields: tuple[str, ...] = ()
    """Fields of the events that are returned."""
    count: bool = False
    """Return the number of events."""
    rare: int = 0
    """If above 0: return values of the first field that occur with at most so many values of the others."""
    edge: Literal["", "first", "last"] = ""
    """Return the first or the last event, of each group if there are groups."""
    timeline: int = 0
    """If above 0: return the number of events of each period of so many nanoseconds."""
    limit: int = 1000
    """The most rows."""
    rarest_first: bool = False
    """Return the groups with the fewest events first."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The fields whose values are counted."""
        if self.rare and len(self.group_by) == 1:
            return (*self.group_by, HOST)
        return self.group_by

    @property
    def is_counted(self) -> bool:
        """True if events are counted, and not returned."""
        return not self.edge and bool(self.count or self.timeline or self.group_by)

    @property
    def needed(self) -> tuple[str, ...]:
        """The fields that are read, each once."""
        listed = () if self.is_counted else self.fields or DEFAULT_FIELDS
        return tuple(dict.fromkeys((*self.keys, *listed)))

    def of_chunk(
        self, values: Sequence[tuple[str, exp.Expr]], where: exp.Expr | None, table: str = CHUNK
    ) -> exp.Select:
        """Return the query over one chunk.

        Args:
            values: the fields that are needed, and their expressions.
            where: what its events must meet; None for all.
            table: the name of the chunk.
        """
        chosen = [exp.alias_(value, column_name(name), quoted=True) for name, value in values]
        time, number = exp.column("time"), exp.Add(this=exp.column("repeats"), expression=exp.Literal.number(1))
        if self.timeline:
            chosen.append(exp.alias_(_period(time, self.timeline), "time", quoted=True))
        elif not self.is_counted:
            chosen.insert(0, exp.alias_(time, "time", quoted=True))
        if not self.is_counted:
            query = exp.select(*chosen).from_(table)
            query = query.where(where, copy=False) if where is not None else query
            return self._edge(query) if self.edge else _newest(query).limit(self.limit)
        query = exp.select(
            *chosen,
            exp.alias_(exp.cast(exp.Sum(this=exp.paren(number)), "BIGINT"), _COUNT, quoted=True),
            exp.alias_(exp.Min(this=time.copy()), _FIRST, quoted=True),
            exp.alias_(exp.Max(this=time.copy()), _LAST, quoted=True),
        ).from_(table)
        query = query.where(where, copy=False) if where is not None else query
        return query.group_by(*(exp.Literal.number(at) for at in range(1, len(chosen) + 1))) if chosen else query

    def merged(self, table: str) -> exp.Select:
        """Return the query that makes one table of those of several chunks, which another table has."""
        if not self.is_counted:
            query = exp.select("*").from_(table)
            return self._edge(query) if self.edge else _newest(query).limit(self.limit)
        names = self._names()
        query = exp.select(*map(_column, names), *_sums()).from_(table)
        return query.group_by(*map(_column, names)) if names else query

    def last(self, table: str) -> exp.Select:
        """Return the query that makes the result of the merged table."""
        if not self.is_counted:
            return _newest(exp.select("*").from_(table)).limit(self.limit)
        if self.rare:
            first, *others = map(_column, map(column_name, self.keys))
            different = exp.Count(this=exp.Distinct(expressions=[exp.Tuple(expressions=list(others))]))
            return (
                exp.select(first, exp.alias_(different, "groups"), *_sums())
                .from_(table)
                .group_by(first.copy())
                .having(exp.LTE(this=different.copy(), expression=exp.Literal.number(self.rare)))
                .order_by(exp.column("groups"), exp.Ordered(this=exp.column(_COUNT)), first.copy())
                .limit(self.limit)
            )
        query = exp.select("*").from_(table)
        if self.timeline:
            return query.order_by(_column("time"), *map(_column, self._names()[:-1])).limit(self.limit)
        order = exp.Ordered(this=_column(_COUNT), desc=not self.rarest_first)
        return query.order_by(order, *map(_column, self._names())).limit(self.limit)

    def _names(self) -> list[str]:
        return [*map(column_name, self.keys), *(["time"] if self.timeline else [])]

    def _edge(self, query: exp.Select) -> exp.Select:
        if not self.edge:
            return query
        order = exp.Order(expressions=[exp.Ordered(this=exp.column("time"), desc=self.edge == "last")])
        number = exp.Window(
            this=exp.RowNumber(), partition_by=[_column(column_name(each)) for each in self.group_by], order=order
        )
        # Its names are those of the result, and not of the archive.
        query = exp.select("*").from_(query.subquery("chosen"))
        return query.qualify(exp.EQ(this=number, expression=exp.Literal.number(1)))


def _newest(query: exp.Select) -> exp.Select:
    return query.order_by(exp.Ordered(this=_column("time"), desc=True))


def _column(name: str) -> exp.Expr:
    return exp.column(name, quoted=True)


def _sums() -> list[exp.Expr]:
    total = exp.cast(exp.func("COALESCE", exp.Sum(this=_column(_COUNT)), exp.Literal.number(0)), "BIGINT")
    return [
        exp.alias_(total, _COUNT, quoted=True),
        exp.alias_(exp.Min(this=_column(_FIRST)), _FIRST, quoted=True),
        exp.alias_(exp.Max(this=_column(_LAST)), _LAST, quoted=True),
    ]


def _period(time: exp.Expr, nanoseconds: int) -> exp.Expr:
    step = exp.Literal.number(nanoseconds)
    number = exp.IntDiv(this=exp.Anonymous(this="epoch_ns", expressions=[time]), expression=step)
    return exp.Anonymous(this="make_timestamp_ns", expressions=[exp.Mul(this=number, expression=step.copy())])


def masked(table: pa.Table, redaction: Redaction) -> pa.Table:
    """Return a table with what the redaction masks in its texts, also those in lists and structures."""
    for at, name in enumerate(table.column_names):
        column = table.column(at)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = _each_masked(column, redaction)
        elif pa.types.is_nested(column.type):
            column = column.cast(_readable(column.type), safe=False)
            column = pa.array((_inner(value, redaction) for value in column.to_pylist()), column.type)
        table = table.set_column(at, name, column)
    return table


def _each_masked(column: pa.ChunkedArray, redaction: Redaction) -> pa.ChunkedArray:
    # Most texts occur often.
    encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    shown = pa.array([_masked(text, redaction) for text in encoded.dictionary.to_pylist()], pa.string())
    return pa.chunked_array([shown.take(encoded.indices)], pa.string())


def _readable(kind: pa.DataType) -> pa.DataType:
    """Return a type with times in microseconds: Python has no others inside of lists and structures."""
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    if pa.types.is_list(kind):
        return pa.list_(_readable(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(each.name, _readable(each.type)) for each in kind])
    return kind


def _masked(text: str, redaction: Redaction) -> str:
    return archived_text(redaction.text(restored_text(text)))


def _inner(value: Any, redaction: Redaction) -> Any:
    if isinstance(value, str):
        return _masked(value, redaction)
    if isinstance(value, dict):
        return {key: _inner(each, redaction) for key, each in value.items()}
    return [_inner(each, redaction) for each in value] if isinstance(value, list) else value


def rows_of(table: pa.Table) -> Iterator[list[Any]]:
    """Yield the rows of a table: texts as hosts sent them, times as texts, integers of any size as int."""
    columns = [list(_values(table.column(at))) for at in range(table.num_columns)]
    yield from map(list, zip(*columns, strict=True))


def _values(column: pa.ChunkedArray) -> Iterator[Any]:
    kind = column.type
    if pa.types.is_timestamp(kind):
        times = column.cast(pa.timestamp("ns", kind.tz)).cast(pa.int64()).to_pylist()
        return (None if time is None else iso8601_zulu(time) for time in times)
    if pa.types.is_string(kind):
        return (None if text is None else restored_text(text) for text in column.to_pylist())
    if pa.types.is_decimal(kind):
        whole = kind.scale == 0
        return (None if value is None else int(value) if whole else float(value) for value in column.to_pylist())
    if pa.types.is_floating(kind):
        # JSON has no infinity.
        return (value if value is None or isfinite(value) else str(value) for value in column.to_pylist())
    return iter(column.cast(_readable(kind), safe=False).to_pylist())
