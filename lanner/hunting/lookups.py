"""Looks values of events up in lists of indicators, for SQL.

A list has up to a million entries, networks and ends of names among them, and SQL would need another implementation of
what an entry matches. The events of a chunk have few different values, so each is looked up once, in the table that
rules use, and SQL joins with those that an entry has.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa
from sqlglot import exp

from lanner.archive.schema import restored_text
from lanner.hunting.columns import DIALECT
from processor.indicators.lists import IndicatorList

_VALUE, _IS_NEW = "indicator_value", "is_new"
_AT_ONCE = 50_000
"""Values that are looked up at a time."""
IsNew = Callable[[IndicatorList, str], bool]
"""Returns whether a list has a value by one of its new entries."""


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
