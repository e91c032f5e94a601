"""Runs a hunt: DuckDB over chunks of events, and the engine on the events that SQL can't decide."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from sqlglot import exp

from foundation.text import printable
from lanner.archive.files import complete
from lanner.archive.restored import restored_batches
from lanner.archive.schema import EVENTS, IDENTITY, MESSAGE, PROCESS, archived_text
from lanner.errors import BadInput
from lanner.hunting.columns import ANCESTORS, DIALECT, FieldColumn, column_name, field_column
from lanner.hunting.conditions import SqlCondition, reads_ancestors, to_sql
from lanner.hunting.results import CHUNK, FOUND, HuntResult
from lanner.hunting.sources import Chunk, RowSource
from lanner.recorder.search import SearchCondition
from lanner.recorder.store import EventRange
from processor.compiler.operands import NUMBER_TYPES
from processor.detection.budget import BOUNDLESS, Budget
from processor.detection.view import BatchView
from processor.fields.extract import reader
from processor.language.ast import Ancestor, Check, Transformer, checks, fields_in, walk
from schemas.batch import EventBatch
from schemas.catalog.fields import FIELDS, resolve_field

_MERGE_AFTER = 64
"""Chunks between two merges of what was found."""
_ROWS = 20_000
"""Rows that are restored at a time."""
_ORDER = ["appended", "partition", "offset", "index"]
_CERTAIN, _DECIDED, _PENDING = "is_certain", "decided", "pending"
_LAST_TIME = (1 << 63) - 2
_OTHERS = (ANCESTORS, "relatives", "containers")
"""Columns of other processes than that of the event, and of their containers."""
_OF_EVENT = ("evt.", "fd.", "fs.", "dns.", "tls.", "user.", "group.", "thread.")
"""The beginnings of fields that read no other process."""
_NEIGHBOURS = "evt.deltatime"
"""Fields that compare with the event before, which may not match."""


NOT_A_FILES_FAULT = (duckdb.OutOfMemoryException, duckdb.InterruptException)
"""DuckDB has no common class for what a file raises that is damaged, or has columns of other types."""


@dataclass(frozen=True, slots=True)
class HuntLimits:
    """The most that a hunt may take of this host."""

    memory_mib: int = 1024
    threads: int = 2


def connect(limits: HuntLimits) -> duckdb.DuckDBPyConnection:
    """Return a database in memory that reads files, but loads no extension."""
    return duckdb.connect(
        config={
            "memory_limit": f"{limits.memory_mib}MiB",
            "threads": limits.threads,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
            # It would spill what people look for into the working directory.
            "temp_directory": "",
            "preserve_insertion_order": False,
        }
    )


class Hunt:
    """One hunt. Its attributes may be read while it runs."""

    def __init__(self, condition: SearchCondition, result: HuntResult, limits: HuntLimits | None = None) -> None:
        """Prepare a hunt. Raises BadInput if a field is unknown, or can't be read of single events."""
        self.condition = condition
        self.result = result
        self.results = [result]
        """The result, and others that are to be made of the same reading."""
        self.limits = limits or HuntLimits()
        self.events = 0
        """Events that the engine looked at."""
        self.found = 0
        """Rows of the result, before the last chunks are merged."""
        self.faults = 0
        """Events that could not be evaluated."""
        self._check()

    @cached_property
    def sql(self) -> SqlCondition:
        """The condition as SQL."""
        return to_sql(self.condition.node)

    @cached_property
    def columns(self) -> dict[str, FieldColumn | None]:
        """The fields that the result needs, as SQL; None for one that the engine reads."""
        found: dict[str, FieldColumn | None] = {}
        for name in dict.fromkeys(name for each in self.results for name in each.needed):
            column = field_column(*_field(name))
            found[name] = column if column is not None and column.form == "value" else None
        return found

    @property
    def is_in_sql(self) -> bool:
        """True if the engine is not needed."""
        return self.sql.is_exact and None not in self.columns.values()

    @cached_property
    def reads_others(self) -> bool:
        """True if the engine may need other processes than those of the events: two thirds of what files have."""
        nodes = list(walk(self.condition.node))
        sides = [side for each in nodes if isinstance(each, Check) for side in (each.left, each.right)]
        if any(isinstance(each, Ancestor) for each in nodes) or any(isinstance(each, Transformer) for each in sides):
            return True
        fields = [(each.name, each.argument) for side in sides for each in fields_in(side)]
        for name, argument in (*fields, *map(_field, self.columns)):
            column = field_column(name, argument)
            if reads_ancestors(column.values) if column is not None else not name.startswith(_OF_EVENT):
                return True
        return False

    def _check(self) -> None:
        read = [each.name for check in checks(self.condition.node) for each in fields_in(check.left)]
        for name in (*read, *self.result.needed):
            if name.startswith(_NEIGHBOURS):
                raise BadInput(f"{name}: compares with the event before, so it can't be hunted for. Use evt.rawtime.")
        for name in self.result.needed:
            if resolve_field(name) is None:
                raise BadInput(f"{name}: no such field. `lanner fields` lists them.")

    def run(
        self, source: RowSource, events: EventRange, stop: Callable[[], bool], show: Callable[[float], None]
    ) -> pa.Table:
        """Return the result; of what was read until then if it is stopped. `tables` describes the arguments."""
        return self.tables(source, events, stop, show)[0]

    def tables(
        self, source: RowSource, events: EventRange, stop: Callable[[], bool], show: Callable[[float], None]
    ) -> list[pa.Table]:
        """Return the table of each of `results`; of what was read until then if it is stopped.

        Args:
            source: where events are read.
            events: their times and host.
            stop: returns whether to end.
            show: receives how much has been read, from 0 to 1.
        """
        connection = connect(self.limits)
        try:
            connection.register(CHUNK, self._with_read(EVENTS.empty_table()))
            for at, result in enumerate(self.results):
                connection.execute(_create(_found(at), self._plain(result, exp.false())))
            connection.unregister(CHUNK)
            for number, chunk in enumerate(source.chunks(events, stop), 1):
                if stop():
                    break
                self._read(connection, chunk, within(events), source.remarks, stop)
                if number % _MERGE_AFTER == 0:
                    self._merge(connection)
                show(chunk.share)
            self._merge(connection)
            return [_named(connection, result, _found(at)) for at, result in enumerate(self.results)]
        except duckdb.OutOfMemoryException:
            raise BadInput(
                f"the hunt needs more than {self.limits.memory_mib} MiB: narrow the time or the condition, group by "
                "fields with fewer values, or allow more by --memory; in the console, by console.hunt_memory_mib."
            ) from None
        except (duckdb.Error, pa.ArrowException) as error:
            raise BadInput(f"the events can't be read: {str(error).splitlines()[0]}") from None
        finally:
            connection.close()

    def _read(
        self,
        connection: duckdb.DuckDBPyConnection,
        chunk: Chunk,
        range_: exp.Expr,
        remarks: list[str],
        stop: Callable[[], bool],
    ) -> None:
        """Add what a chunk has. A file that can't be read is left out, with a remark."""
        before = self.events, self.faults
        try:
            for at in range(len(self.results)):
                connection.execute(f"CREATE OR REPLACE TABLE {_PENDING}_{at} AS FROM {_found(at)} LIMIT 0")
            for at, query in self._queries(connection, chunk, range_):
                if at == 0 and stop() and not self.is_in_sql:
                    # The engine takes long for a chunk; what it has found until now counts.
                    break
                connection.execute(exp.insert(query, exp.to_table(f"{_PENDING}_{at}")).sql(DIALECT, copy=False))
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            if not chunk.name or isinstance(error, NOT_A_FILES_FAULT):
                raise
            self.events, self.faults = before
            for part in chunk.parts:
                self._read(connection, part, range_, remarks, stop)
            if not chunk.parts:
                # It is damaged, or was merged with others or deleted.
                reason = str(error).splitlines()[0] if Path(chunk.name).exists() else "it was merged or deleted"
                remarks.append(f"{chunk.name} could not be read: {reason.rstrip('.')}. Its events are missing.")
            return
        for at in range(len(self.results)):
            added = connection.execute(f"INSERT INTO {_found(at)} FROM {_PENDING}_{at}").fetchall()[0][0]
            self.found += 0 if at else added

    def _merge(self, connection: duckdb.DuckDBPyConnection) -> None:
        for at, result in enumerate(self.results):
            connection.execute(_create(_found(at), result.merged(_found(at))))

    def _plain(self, result: HuntResult, where: exp.Expr | None, table: str = CHUNK) -> exp.Select:
        values = {
            name: exp.column(_extra(at)) if column is None else column.values[0].copy()
            for at, (name, column) in enumerate(self.columns.items())
        }
        return result.of_chunk([(name, values[name]) for name in result.needed], where, table)

    def _first_query(self, range_: exp.Expr) -> exp.Select:
        """Return the query over a chunk: all of the hunt, or what narrows down what the engine decides."""
        where = exp.and_(range_, self.sql.may.copy())
        if self.is_in_sql:
            return self._plain(self.result, where)
        certain = exp.Coalesce(this=self.sql.must.copy(), expressions=[exp.false()])
        columns = exp.Star() if self.reads_others else exp.Star(except_=[exp.to_identifier(each) for each in _OTHERS])
        return exp.select(columns, exp.alias_(certain, _CERTAIN)).from_(CHUNK).where(where)

    def chunk_sql(self, events: EventRange) -> str:
        """Return the query over each chunk as text."""
        return self._first_query(within(events)).sql(DIALECT, pretty=True)

    def explained(self, events: EventRange) -> str:
        """Return what SQL and what the engine does, and the SQL, for people."""
        lines = ["SQL decides the whole condition." if self.sql.is_exact else "SQL excludes what can't match."]
        if self.sql.engine:
            lines.append("The engine decides, on the events that are left:")
            lines += [f"  {each}" for each in self.sql.engine]
        if read := [name for name, column in self.columns.items() if column is None]:
            lines.append(f"The engine reads these fields of the events that match: {', '.join(read)}")
        for each in self.sql.lookups:
            names = ", ".join(dict.fromkeys(one.spec.name for one in each.lists))
            lines.append(f"{each.table} has the values of {each.value.sql(DIALECT)} that are in {names}.")
        lines += ["", "Of each chunk of events:", self.chunk_sql(events)]
        lines += ["", "Of what was found:", self.result.last(FOUND).sql(DIALECT, pretty=True)]
        return "\n".join(printable(line) for text in lines for line in text.split("\n"))

    def _queries(
        self, connection: duckdb.DuckDBPyConnection, chunk: Chunk, range_: exp.Expr
    ) -> Iterator[tuple[int, exp.Select]]:
        """Yield the queries that add what a chunk has, each with the index of its result.

        The tables that they read are valid until the next one.
        """
        # What was found is written while the events are still being read.
        reading = connection if self.is_in_sql else connection.cursor()
        if not self.is_in_sql or self.sql.lookups:
            chunk.bind(reading, CHUNK, alike=True)
            for each in self.sql.lookups:
                each.fill(reading, CHUNK, range_)
        if self.is_in_sql:
            for at, result in enumerate(self.results):
                selected = self._plain(result, exp.and_(range_, self.sql.may.copy()))
                if not self.sql.lookups:
                    self._bind_needed(reading, chunk, selected, range_)
                yield at, selected
            return
        query = self._first_query(range_)
        for rows in reading.sql(query.sql(DIALECT, copy=False)).to_arrow_reader(_ROWS):
            decided = self._decided(pa.Table.from_batches([rows]))
            connection.register(_DECIDED, decided)
            for at, result in enumerate(self.results):
                yield at, self._plain(result, None, _DECIDED)

    def _bind_needed(
        self, connection: duckdb.DuckDBPyConnection, chunk: Chunk, query: exp.Expr, range_: exp.Expr
    ) -> None:
        """Make what a query reads of a chunk a table, for this query alone."""
        columns = self.columns_of(query) if chunk.files else ()
        if not columns:
            chunk.bind(connection, CHUNK, alike=True)
            return
        bounds = to_sql(self.condition.node, without_ancestors=True)
        chunk.bind_columns(connection, CHUNK, columns, exp.and_(range_, bounds.may))

    @staticmethod
    def columns_of(query: exp.Expr) -> Collection[str]:
        """Return the columns that a query reads, if attributes of ancestors are among them, which are then named."""
        names = {each.name for each in query.find_all(exp.Identifier)}
        if ANCESTORS not in names:
            return ()
        attributes = names & PROCESS.keys() or {"row"}
        return {*names.intersection(EVENTS.names) - {ANCESTORS}, *(f"{ANCESTORS}.{name}" for name in attributes)}

    def _with_read(self, rows: pa.Table) -> pa.Table:
        """Return no rows, with the columns of the fields that only the engine reads."""
        for at, (name, column) in enumerate(self.columns.items()):
            rows = rows if column is not None else rows.append_column(_extra(at), pa.array([], _kind(name)))
        return rows

    def _decided(self, rows: pa.Table) -> pa.Table:
        """Return the rows that match, with the fields that only the engine reads."""
        rows = rows.sort_by([(name, "ascending") for name in _ORDER])
        extras = [(_extra(at), name) for at, (name, column) in enumerate(self.columns.items()) if column is None]
        certain = rows[_CERTAIN].to_pylist()
        for name in _OTHERS if not self.reads_others else ():
            rows = rows.append_column(name, pa.nulls(rows.num_rows, EVENTS.field(name).type))
        events = complete(rows.select(EVENTS.names))
        matches: list[bool] = []
        kinds = {column: _kind(name) for column, name in extras}
        values: dict[str, list[Any]] = {column: [] for column, _ in extras}
        for archived in restored_batches(events, stated_heads(events)):
            batch = archived.stored.batch
            found = self._matches(batch, certain[len(matches) : len(matches) + batch.count])
            matches += found
            for column, name in extras:
                read = reader(batch, *_field(name))
                shown = [read(index) if is_match else None for index, is_match in enumerate(found)]
                values[column] += shown if kinds[column] != pa.string() else map(_text, shown)
        for column, _ in extras:
            rows = rows.append_column(column, pa.array(values[column], kinds[column]))
        return rows.filter(pa.array(matches, pa.bool_()))

    def _matches(self, batch: EventBatch, certain: Sequence[bool]) -> list[bool]:
        found = list(certain)
        if all(found):
            return found
        self.events += batch.count
        for index, _ in BatchView(batch).hits(self.condition.compiled, self._fault, Budget(BOUNDLESS)):
            found[index] = True
        return found

    def _fault(self, _: int, __: BaseException) -> None:
        self.faults += 1


def _found(at: int) -> str:
    return f"{FOUND}_{at}"


def _named(connection: duckdb.DuckDBPyConnection, result: HuntResult, table: str) -> pa.Table:
    """Return a result of what a table has, with the names of fields."""
    rows = connection.sql(result.last(table).sql(DIALECT, copy=False)).to_arrow_table()
    names = {column_name(each): each for each in result.needed}
    return rows.rename_columns([names.get(each, each) for each in rows.column_names])


def _create(table: str, query: exp.Select) -> str:
    return exp.Create(this=exp.to_table(table), kind="TABLE", replace=True, expression=query).sql(DIALECT, copy=False)


def stated_heads(events: pa.Table) -> pa.Table:
    """Return what events state of their batches."""
    place, identity = list(MESSAGE), list(IDENTITY)
    first = events.group_by(place, use_threads=False).aggregate([(name, "first") for name in identity])
    return first.rename_columns(
        [name.removesuffix("_first") if name[:-6] in identity else name for name in first.column_names]
    )


def within(events: EventRange) -> exp.Expr:
    """Return what an event of the time range and the host meets."""
    parts: list[exp.Expr] = [exp.GTE(this=exp.column("time"), expression=_time(events.since))]
    if events.until is not None:
        parts.append(exp.LT(this=exp.column("time"), expression=_time(events.until)))
    if events.host is not None:
        host = exp.Literal.string(archived_text(events.host))
        parts.append(exp.or_(exp.column("hostname").eq(host), exp.column("host_id").eq(host.copy())))
    return exp.and_(*parts)


def _extra(at: int) -> str:
    return f"engine_{at}"


def _text(value: Any) -> str | None:
    if value is None:
        return None
    text = "true" if value is True else "false" if value is False else value
    return archived_text(" ".join(map(str, value)) if isinstance(value, tuple) else str(text))


def _field(name: str) -> tuple[str, str | None]:
    """Return the name of a field that exists, and its argument."""
    found = resolve_field(name)
    assert found is not None  # noqa: S101  checked when the hunt was made
    return found[0].name, found[1]


def _kind(name: str) -> pa.DataType:
    """Return the type of the column of a field that the engine reads."""
    spec = FIELDS[_field(name)[0]]
    if spec.type not in NUMBER_TYPES | {"BOOL"} or spec.name == "evt.rawarg":
        return pa.string()
    return pa.bool_() if spec.type == "BOOL" else pa.decimal128(20)


def _time(milliseconds: int) -> exp.Expr:
    nanoseconds = min(max(milliseconds * 1_000_000, 0), _LAST_TIME)
    return exp.Anonymous(this="make_timestamp_ns", expressions=[exp.Literal.number(nanoseconds)])
