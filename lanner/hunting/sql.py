"""Runs SQL that a person wrote over the views `events` and `alerts`, and over nothing else.

Two walls: only a SELECT over these views is accepted, and what runs is what was checked; and the database can neither
open files or connections, nor load extensions, nor change its settings, whatever a text makes it do.
"""

import logging
import re
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pyarrow as pa
import sqlglot
from duckdb.sqltypes import DuckDBPyType
from pyarrow import dataset
from sqlglot import exp

from lanner.errors import BadInput
from lanner.hunting.columns import DIALECT, field_column, view_columns
from lanner.hunting.hunt import HuntLimits, within
from lanner.hunting.results import masked
from lanner.recorder.store import EventRange
from processor.output.redaction import Redaction
from schemas.catalog.fields import FIELDS

MAX_SQL = 20_000
"""Characters."""
_EVENTS, _ALERTS = "events", "alerts"
_VIEWS = frozenset({_EVENTS, _ALERTS})
_ROWS, _ALERT_ROWS = "archived_events", "archived_alerts"
_TEMPORARY = exp.Properties(expressions=[exp.TemporaryProperty()])
_NAME = re.compile("[a-z_][a-z0-9_]*")
_POLL_SECONDS = 0.2
_REFUSED = frozenset({"getenv", "current_setting", "getvariable", "setseed", "write_log", "nextval", "currval"})
"""Functions that have nothing to do with events: they are about the database itself, or change it."""
_PLAIN = frozenset({
    *("boolean", "tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger", "ubigint"),
    *("float", "double", "decimal", "varchar", "timestamp_ns", "null"),
})  # fmt: skip
"""Types of values that Arrow, Parquet and JSON have as well. Others become texts: Arrow ends the process for some."""
_BESIDE_QUERIES = 1 << 30
"""Bytes that a query may allocate beyond its limit, for the rows that PyArrow reads."""
_STATEMENTS = (exp.DDL, exp.DML, exp.Command, exp.Into, exp.Lock, exp.Set, exp.Pragma)


def checked(text: str) -> exp.Query:
    """Return a text as a query that reads nothing but the views. Raises BadInput."""
    if len(text) > MAX_SQL:
        raise BadInput(f"--sql: the text has more than {MAX_SQL:,} characters.")
    try:
        statements = [each for each in sqlglot.parse(text, dialect=DIALECT) if each is not None]
    except RecursionError:
        raise BadInput("--sql: its parentheses or subqueries are nested too deeply.") from None
    except sqlglot.errors.SqlglotError as error:
        raise BadInput(f"--sql: {_first_line(error)}.") from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise BadInput("--sql: write one SELECT, which may begin with WITH; nothing else is run.")
    query = statements[0]
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    own = {each.alias.lower() for each in query.find_all(exp.CTE)}
    if wrong := next((each for each in own if not _NAME.fullmatch(each) or each in (_ROWS, _ALERT_ROWS)), None):
        raise BadInput(f"--sql: {wrong[:80]!r} can't be the name of a subquery.")
    names = own | _VIEWS
    for node in query.walk():
        if problem := _problem(node, names):
            raise BadInput(f"--sql: {problem}.")
    return query


_CLASS = re.compile(r"for <class '(?:\w+\.)*(\w+)'>")


def _first_line(error: Exception) -> str:
    # sqlglot underlines what is wrong by escape sequences.
    text = _CLASS.sub(r"in \1", str(error))
    lines = text.replace("\x1b[4m", "").replace("\x1b[0m", "").splitlines()
    return (lines or ["the text can't be read"])[0].rstrip(".")


def _problem(node: exp.Expr, names: set[str]) -> str:
    if isinstance(node, exp.Table):
        if not isinstance(node.this, exp.Identifier) or node.args.get("db") or node.args.get("catalog"):
            return f"{node.sql(DIALECT)[:80]} is not one of the views events and alerts"
        if node.name.lower() not in names:
            return f"there is no view {node.name[:80]!r}: use events or alerts"
    if isinstance(node, exp.Query):
        return ""
    if isinstance(node, _STATEMENTS):
        return f"{type(node).__name__.upper()} is not allowed in it"
    if isinstance(node, exp.Lateral) and not isinstance(node.this, exp.Subquery | exp.Unnest):
        return "functions that make tables are not allowed"
    if isinstance(node, exp.Func):
        name = node.name.lower() if isinstance(node, exp.Anonymous) else node.sql_name().lower()
        if name in _REFUSED or name.startswith(("duckdb_", "pragma_", "pg_")):
            return f"the function {name} is not allowed"
    return ""


class SqlHunt:
    """The views, and queries over them."""

    def __init__(
        self,
        events: dataset.Dataset,
        alerts: dataset.Dataset,
        times: EventRange,
        limits: HuntLimits,
        redaction: Redaction | None = None,
    ) -> None:
        """Make the views of the archive's rows of events and alerts, of a time range and a host.

        redaction: masks texts of events before the query reads them, for people who may not see what is masked: a
        query could take texts apart. Alerts were masked when they were made.
        """
        self._connection = duckdb.connect(
            config={
                "memory_limit": f"{limits.memory_mib}MiB",
                "threads": limits.threads,
                "enable_external_access": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "allow_community_extensions": False,
                "allow_unsigned_extensions": False,
                "python_enable_replacements": False,
                "temp_directory": "",
            }
        )
        self._connection.register(_ROWS, events)
        self._connection.register(_ALERT_ROWS, alerts)
        columns: list[exp.Expr] = [exp.column("time"), exp.column("host_id")]
        if redaction is not None:
            _define_masks(self._connection, redaction)
        columns += [
            exp.Alias(
                this=value if redaction is None else _shown(field, value), alias=exp.to_identifier(name, quoted=True)
            )
            for field, name, value in view_columns()
        ]
        for name, query in (
            (_EVENTS, exp.Select(expressions=columns).from_(_ROWS, copy=False)),
            (_ALERTS, exp.select("*").from_(_ALERT_ROWS)),
        ):
            chosen = query.where(within(times), copy=False)
            view = exp.Create(this=exp.to_table(name), kind="VIEW", expression=chosen, properties=_TEMPORARY)
            self._connection.execute(view.sql(DIALECT, copy=False))
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute("SET lock_configuration = true")
        self._limits = limits

    def run(self, query: exp.Query, limit: int, stop: Callable[[], bool]) -> pa.Table:
        """Return the rows of a checked query, at most so many.

        Raises:
            BadInput: The query is wrong, needs too much memory, or was stopped.
        """
        limited = exp.select("*").from_(query.subquery("query")).limit(limit)
        try:
            with _interrupted(self._connection, stop), _bounded(self._limits.memory_mib):
                found = self._connection.sql(limited.sql(DIALECT))
                if not all(map(_is_plain, found.types)):
                    found = found.select(*map(_plain, found.columns, found.types))
                return found.to_arrow_table()
        except duckdb.InterruptException:
            raise BadInput("--sql: stopped before the query was done.") from None
        except (duckdb.Error, MemoryError) as error:
            # PyArrow has an error of its own, of which DuckDB passes on the text.
            if isinstance(error, duckdb.OutOfMemoryException | MemoryError) or "Out of memory: " in str(error):
                raise BadInput(
                    f"--sql: the query needs more than {self._limits.memory_mib} MiB: narrow the time, or allow more "
                    "by --memory; in the console, by console.hunt_memory_mib."
                ) from None
            raise BadInput(f"--sql: {_first_line(error)}.") from None

    def close(self) -> None:
        """Close the database."""
        self._connection.close()


def _is_plain(kind: DuckDBPyType) -> bool:
    if kind.id in ("list", "struct"):
        return bool(kind.children) and all(
            isinstance(child, DuckDBPyType) and _is_plain(child) for _, child in kind.children
        )
    return kind.id in _PLAIN


def _plain(name: str, kind: DuckDBPyType) -> duckdb.Expression:
    column = duckdb.ColumnExpression(name)
    if _is_plain(kind):
        return column
    # A time has one type, because others reach farther than the times of events.
    return column.cast("TIMESTAMP_NS" if kind.id.startswith("timestamp") else "VARCHAR").alias(name)


@contextmanager
def _bounded(memory_mib: int) -> Iterator[None]:
    """Limit what this process can allocate: DuckDB doesn't count the values that it computes, such as a long list."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize()
    most = used + (memory_mib << 20) + _BESIDE_QUERIES
    with suppress(OSError, ValueError):
        # Refused where a service's filter of system calls forbids it, or below a lower limit.
        resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, before)


_MASK, _MASK_EACH = "masked_text", "masked_texts"
"""Functions that mask a text, and each text of a list."""
_FIXED = re.compile(
    r"evt\.(?!path).*|syscall\..*|fd\.(type|.*(ip|net|port|proto)|sockfamily|file\.(sha256|origin|written_at))"
    r"|dns\.(question\.type|response_code)|(user|group|proc|proc\.p)\.?name"
    r"|container\.(id|full_id|type|image\.(id|digest)|ip)|k8s\.pod\.(.*id|ip)|proc\.\w+\.(sha256|origin)"
)
"""Fields whose texts are too short for a secret with its marker, or come from the kernel, so that they may be compared
before they are masked: files of the archive without them needn't be read."""


def _define_masks(connection: duckdb.DuckDBPyConnection, redaction: Redaction) -> None:
    def mask(column: pa.ChunkedArray) -> pa.Array:
        return masked(pa.table({"": column}), redaction).column(0).combine_chunks()

    connection.create_function(_MASK, mask, ["VARCHAR"], "VARCHAR", type="arrow")  # type: ignore[call-overload]
    connection.create_function(_MASK_EACH, mask, ["VARCHAR[]"], "VARCHAR[]", type="arrow")  # type: ignore[call-overload]


def _shown(field: str, value: exp.Expr) -> exp.Expr:
    """Return a column as a person may see it."""
    column = field_column(field)
    if FIELDS[field].type != "CHARBUF" or column is None or column.form == "ends" or _FIXED.fullmatch(field):
        return value
    return exp.Anonymous(this=_MASK_EACH if column.form == "list" else _MASK, expressions=[value])


class _interrupted:  # noqa: N801  reads as a statement
    """Interrupt a query from another thread when somebody asks to stop."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, stop: Callable[[], bool]) -> None:
        self._connection, self._stop = connection, stop
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._done.wait(_POLL_SECONDS):
            if self._stop():
                self._connection.interrupt()
                return

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def column_rows() -> Iterator[tuple[str, str]]:
    """Yield each field that SQL can state, and its column in `events`."""
    return ((field, name) for field, name, _ in view_columns())
