"""What a hunt returns of the events that match: rows, groups, a count or a timeline, as queries.

Events are read in chunks. A chunk's query makes a small table of it, merging makes one of several, and the last query
makes the result; so a hunt over months needs the memory of its result, and one that is stopped has what it found.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlglot import exp

from lanner.hunting.columns import column_name

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
