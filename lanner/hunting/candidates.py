"""Reads from an archive only the events that rules may match: DuckDB excludes the others by a few columns.

Making batches of rows takes four times as long as evaluating the rules on them, and most events match no rule.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from pyarrow import dataset as arrow_dataset
from pyarrow import fs
from sqlglot import exp

from lanner.archive.files import ArchiveFile, ArchiveFiles, complete, conformed, reading
from lanner.archive.schema import DATASETS, EVENTS
from lanner.archive.store import AllRows
from lanner.errors import BadInput
from lanner.hunting.columns import DIALECT, of_types
from lanner.hunting.comparisons import disjunction
from lanner.hunting.conditions import to_sql
from lanner.hunting.hunt import NOT_A_FILES_FAULT, HuntLimits, connect
from lanner.hunting.sources import Chunk
from processor.compiler.operands import names_to_resolve
from processor.language.ast import Node
from processor.language.event_types import event_types
from schemas.encoding.batch import BadBatch

_FILE = "file"
_ROWS = 20_000
"""Rows that are read at a time."""


class CandidateRows(AllRows):
    """The rows of events for which a condition may be true, and all rows of batches."""

    is_selection = True

    def __init__(self, conditions: Iterable[Node], limits: HuntLimits | None = None) -> None:
        """Translate conditions on system calls, whose macros are resolved."""
        where = disjunction(map(_may, conditions))
        self._rows, self._number = (
            exp.select(what).from_(_FILE).where(where).sql(DIALECT) for what in ("*", "count(*)")
        )
        self._limits = limits or HuntLimits()
        self._connection = connect(self._limits)

    def count(self, files: ArchiveFiles, file: ArchiveFile) -> int:
        """Return the number of these rows in a file of events, or more if it has few. Raises OSError and BadBatch."""
        if (number := super().count(files, file)) <= _ROWS:
            return number
        with reading(file):
            return int(self._query(files, file, self._number).fetchall()[0][0])

    def read(self, files: ArchiveFiles, file: ArchiveFile, dataset: str, where: Any) -> pa.Table:
        """Return these rows of a file, as AllRows does."""
        if dataset != "events":
            return super().read(files, file, dataset, where)
        with reading(file):
            found = [EVENTS.empty_table()]
            try:
                parts = self._query(files, file, self._rows).to_arrow_reader(_ROWS)
                tables = (pa.Table.from_batches([rows]) for rows in parts if rows.num_rows)
                found += (complete(conformed(table, EVENTS).filter(where)) for table in tables)
            except duckdb.Error as error:
                raise self._fault(file, error) from None
            return pa.concat_tables(found)

    def _query(self, files: ArchiveFiles, file: ArchiveFile, query: str) -> duckdb.DuckDBPyRelation:
        is_local = isinstance(files.system, fs.LocalFileSystem)
        if is_local and not Path(file.path).exists():
            raise FileNotFoundError(file.path)
        chunk = Chunk(files=[file.path])
        if not is_local:
            chunk = Chunk(
                arrow_dataset.dataset([file.path], schema=DATASETS["events"], format="parquet", filesystem=files.system)
            )
        try:
            chunk.bind(self._connection, _FILE)
            return self._connection.sql(query)
        except duckdb.Error as error:
            raise self._fault(file, error) from None

    def _fault(self, file: ArchiveFile, error: duckdb.Error) -> Exception:
        """Return what to raise: DuckDB has no common class for what a damaged file raises."""
        if isinstance(error, duckdb.OutOfMemoryException):
            return BadInput(f"{file.path}: reading it needs more than {self._limits.memory_mib} MiB.")
        if isinstance(error, NOT_A_FILES_FAULT):
            return error
        if not Path(file.path).exists():
            return FileNotFoundError(file.path)
        return BadBatch(f"{file.path}: {str(error).splitlines()[0]}")


def _may(condition: Node) -> exp.Expr:
    """Return SQL that is true of each event that matches."""
    if names_to_resolve([condition]):
        # The addresses of these names are no part of the archive.
        return of_types(event_types(condition))
    return to_sql(condition).may
