"""Apache Iceberg tables of an archive, so that Spark, Trino, ClickHouse or DuckDB read it as a database.

There is a table for each dataset, `lanner.events`, `lanner.batches` and `lanner.alerts`, in a catalog: a SQLite file,
or a server with the REST API. It refers to the archive's own files, which are not copied. A table's contents are not
stored anywhere: a look compares it with the files that the archive has, and commits the difference as one snapshot. So
a process that is killed at any point leaves nothing that the next look doesn't correct, and if two look at the same
time, one commits and the other's snapshot is refused.

Tables are of version 2 of the format, which has no nanoseconds and no numbers without a sign. Files that tables refer
to therefore have a column `time_us` too, which is the tables' `time`, and signed numbers; inode numbers and
capabilities, 64 bits without a sign, are in the files alone. Each column has the number that it has in the table, by
which readers find it: a file that has other numbers, or none, because it was written without a table, is not in the
table. docs/decisions/iceberg-tables.md has the reasons.
"""

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.conversions import to_bytes
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table
from pyiceberg.typedef import Record
from pyiceberg.types import PrimitiveType

from foundation.text import OnNote, count_of
from lanner.archive.files import ArchiveFile, ArchiveFiles, metadata_of
from lanner.archive.schema import DATASETS
from schemas.encoding.batch import BadBatch

NAMESPACE = "lanner"
_MICROSECONDS = "time_us"
_BOUNDED = ("time", "appended", "host_id")
"""The columns whose least and greatest value in a file a table states, so that queries read few files."""
_FIRST_OTHER = 100_000
"""The first number of columns that are not in the table."""
_MOST_ADDED = 1000
"""Files that one snapshot adds; others are added by the next look."""
_RETAINED = timedelta(hours=1)
"""How long a snapshot stays readable, for queries that began with it."""
_ORPHANED_MS = 24 * 3_600_000
"""From what age on a file of metadata to which nothing refers is deleted: a younger one may belong to a commit."""
_ID = b"PARQUET:field_id"
_PROPERTIES = {
    # A second attempt would add files that another process has added.
    "commit.retry.num-retries": "0",
    "commit.manifest-merge.enabled": "true",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
}


def table_schema(schema: pa.Schema) -> pa.Schema:
    """Return the columns of a dataset's table, with types that Iceberg has."""
    return pa.schema([pa.field(each.name, kind) for each in schema if (kind := _table_type(each.type)) is not None])


def _table_type(kind: pa.DataType) -> pa.DataType | None:
    """Return the type in a table; None for one that Iceberg has no equal of."""
    if pa.types.is_struct(kind):
        parts = [pa.field(each.name, part) for each in kind if (part := _table_type(each.type)) is not None]
        return pa.struct(parts) if parts else None
    if pa.types.is_list(kind):
        element = _table_type(kind.value_type)
        return None if element is None else pa.list_(element)
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us")
    if pa.types.is_uint64(kind):
        return None
    if pa.types.is_uint32(kind):
        return pa.int64()
    return pa.int32() if pa.types.is_int16(kind) else kind


@dataclass(frozen=True, slots=True)
class TableForm:
    """How a dataset's files are written, so that its table can refer to them."""

    ids: Mapping[str, int]
    """The number of each column of the table, by its path, such as `arguments.element.name`."""

    def applied(self, rows: pa.Table) -> pa.Table:
        """Return rows with the types and numbers of the table, and with nanoseconds as they were."""
        if "time" in rows.schema.names:
            rows = rows.drop_columns([_MICROSECONDS] if _MICROSECONDS in rows.schema.names else [])
            # Rounded down, as times before 1970 don't occur.
            rows = rows.append_column(_MICROSECONDS, pc.cast(rows["time"], pa.timestamp("us"), safe=False))
        others = iter(range(_FIRST_OTHER, 2 * _FIRST_OTHER))
        columns = []
        for field in rows.schema:
            kind = field.type
            if pa.types.is_primitive(kind) and field.name != "time":
                kind = _table_type(kind) or kind
            columns.append(self._numbered(field.name, kind, "", others))
        return rows.cast(pa.schema(columns))

    def _numbered(self, name: str, kind: pa.DataType, prefix: str, others: Iterator[int]) -> pa.Field:
        path = prefix + name
        found = {"time": None, _MICROSECONDS: self.ids.get("time")}.get(path, self.ids.get(path))
        metadata = {_ID: str(next(others) if found is None else found).encode()}
        if pa.types.is_list(kind):
            kind = pa.list_(self._numbered("element", kind.value_type, f"{path}.", others))
        elif pa.types.is_struct(kind):
            kind = pa.struct([self._numbered(each.name, each.type, f"{path}.", others) for each in kind])
        return pa.field(name, kind, metadata=metadata)

    def fits(self, schema: pa.Schema) -> bool:
        """Return whether a file's columns have the table's numbers; it may lack some, which are null then."""
        stated = dict(_stated(schema))
        if "time" in self.ids:
            stated["time"] = stated.pop(_MICROSECONDS, None)
        known = {path: number for path, number in stated.items() if path in self.ids}
        # A number beyond is that of a column which the table got later.
        return bool(known) and all(
            number is not None and (number >= _FIRST_OTHER or number == self.ids[path])
            for path, number in known.items()
        )


def _stated(fields: Iterable[pa.Field], prefix: str = "") -> Iterator[tuple[str, int | None]]:
    for each in fields:
        path, kind = prefix + each.name, each.type
        stated = (each.metadata or {}).get(_ID)
        yield path, None if stated is None else int(stated)
        if pa.types.is_list(kind):
            yield from _stated([kind.value_field.with_name("element")], f"{path}.")
        elif pa.types.is_struct(kind):
            yield from _stated(kind, f"{path}.")


@dataclass(frozen=True, slots=True)
class TableState:
    """A table as it was when it was read: a commit is refused if it has changed since."""

    table: Table
    files: Mapping[str, DataFile]
    """By their path in the archive's file system."""


class ArchiveTables:
    """The tables of an archive. Errors of a catalog are OSError, so that they are retried as those of the folder."""

    def __init__(self, files: ArchiveFiles, catalog: str, note: OnNote, options: Mapping[str, str]) -> None:
        """Open the tables, and create those that are missing.

        Args:
            files: the archive. Its `forms` are set, so that new files are written for the tables.
            catalog: the URL of a SQLite file or of a REST catalog.
            note: receives which files are not in a table.
            options: properties of the catalog, such as the endpoint of its file system.

        Raises:
            OSError: the catalog can't be used.
        """
        self._files = files
        self._note = note
        self._scheme = "file://" if isinstance(files.system, fs.LocalFileSystem) else "s3://"
        self._unfit: set[str] = set()
        self._names = {dataset: f"{NAMESPACE}.{dataset}" for dataset in DATASETS}
        # It warns that nanoseconds of files, which the table doesn't have, are not read.
        logging.getLogger("pyiceberg").setLevel(logging.ERROR)
        with _catalog_errors():
            kind = "sql" if catalog.startswith("sqlite:") else "rest"
            self._catalog: Catalog = load_catalog(NAMESPACE, type=kind, uri=catalog, **options)
            self._catalog.create_namespace_if_not_exists(NAMESPACE)
            self._forms = {dataset: TableForm(self._opened(dataset)) for dataset in DATASETS}
        files.forms = self._forms

    def _opened(self, dataset: str) -> Mapping[str, int]:
        """Create a table, or add the columns that this release has more; return the numbers of its columns."""
        schema, name = table_schema(DATASETS[dataset]), self._names[dataset]
        location = f"{self._scheme}{self._files.root}/iceberg/{dataset}"
        table = self._catalog.create_table_if_not_exists(name, schema, location, properties=_PROPERTIES)
        known = set(table.schema().column_names)
        if any(each.name not in known for each in schema):
            with table.update_schema() as update:
                update.union_by_name(schema)
            table = self._catalog.load_table(name)
        return {path: table.schema().find_field(path).field_id for path in table.schema().column_names}

    def read(self) -> Mapping[str, TableState]:
        """Return the tables as they are now: to be read before the archive is listed. Raises OSError."""
        with _catalog_errors():
            return {dataset: self._read(name) for dataset, name in self._names.items()}

    def _read(self, name: str) -> TableState:
        table = self._catalog.load_table(name)
        found = {}
        snapshot = table.current_snapshot()
        for manifest in () if snapshot is None else snapshot.manifests(table.io):
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                found[entry.data_file.file_path.removeprefix(self._scheme)] = entry.data_file
        return TableState(table, found)

    def commit(self, dataset: str, state: TableState, files: Sequence[ArchiveFile], now: int) -> None:
        """Make a table refer to exactly these files of the archive, as one snapshot.

        Args:
            dataset: which one.
            state: the table as it was before the files were listed.
            files: the files that the archive has, without replaced ones.
            now: ms since the epoch.

        Raises:
            OSError: the catalog or the archive can't be used, or another process has changed the table; then nothing
                is changed.
        """
        meant = {each.path for each in files}
        removed = [entry for path, entry in state.files.items() if path not in meant]
        missing = [each for each in files if each.path not in state.files and each.path not in self._unfit]
        added = [found for each in missing[:_MOST_ADDED] if (found := self._described(dataset, state.table, each))]
        if not added and not removed:
            return
        with _catalog_errors():
            with state.table.transaction() as transaction:
                snapshot = transaction.update_snapshot()
                # Merging manifests bounds their number; an overwriting snapshot doesn't.
                with snapshot.overwrite() if removed else snapshot.merge_append() as update:
                    for each in added:
                        update.append_data_file(each)
                    for each in removed:
                        update.delete_data_file(each)
            self._tidy(self._names[dataset], now)

    def _described(self, dataset: str, table: Table, file: ArchiveFile) -> DataFile | None:
        """Return what a table states about a file; None if the file wasn't written for it."""
        try:
            metadata = metadata_of(self._files, file)
        except FileNotFoundError:
            # Another process has merged or deleted it since; the next look sees that.
            return None
        except BadBatch as error:
            self._leave_out(file, str(error))
            return None
        if not self._forms[dataset].fits(metadata.schema.to_arrow_schema()):
            self._leave_out(file, f"{file.path}: it was not written for the table")
            return None
        lower: dict[int, bytes] = {}
        upper: dict[int, bytes] = {}
        for name in _BOUNDED:
            bounds = _bounds(metadata, _MICROSECONDS if name == "time" else name)
            if bounds is not None and name in self._forms[dataset].ids:
                field = table.schema().find_field(name)
                kind = cast("PrimitiveType", field.field_type)
                lower[field.field_id], upper[field.field_id] = (to_bytes(kind, each) for each in bounds)
        return DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=self._scheme + file.path,
            file_format=FileFormat.PARQUET,
            partition=Record(),
            record_count=metadata.num_rows,
            file_size_in_bytes=file.size,
            lower_bounds=lower,
            upper_bounds=upper,
            spec_id=0,
        )

    def _leave_out(self, file: ArchiveFile, reason: str) -> None:
        self._unfit.add(file.path)
        if len(self._unfit) & (len(self._unfit) - 1) == 0:
            # The 1st, 2nd, 4th, 8th ...: a long archive may have been without a table.
            left = count_of(len(self._unfit), "file")
            self._note(f"{reason}; it stays out of the Iceberg table ({left} so far).", "warning")

    def _tidy(self, name: str, now: int) -> None:
        """Expire old snapshots, and delete the files of metadata to which nothing refers."""
        table = self._catalog.load_table(name)
        current = table.current_snapshot()
        oldest = datetime.fromtimestamp(now / 1000, UTC) - _RETAINED
        limit = int(oldest.timestamp() * 1000)
        expired = [each.snapshot_id for each in table.snapshots() if each != current and each.timestamp_ms < limit]
        if expired:
            table.maintenance.expire_snapshots().by_ids(expired).commit()
            table = self._catalog.load_table(name)
        used = {table.metadata_location, *(each.metadata_file for each in table.metadata.metadata_log)}
        for snapshot in table.snapshots():
            used.add(snapshot.manifest_list)
            used |= {each.manifest_path for each in snapshot.manifests(table.io)}
        referred = {each.removeprefix(self._scheme) for each in used}
        folder = f"{table.location().removeprefix(self._scheme)}/metadata"
        for each in self._files.system.get_file_info(fs.FileSelector(folder, allow_not_found=True)):
            written = int(each.mtime.timestamp() * 1000) if each.mtime is not None else now
            if each.path not in referred and written < now - _ORPHANED_MS:
                self._files.system.delete_file(each.path)


def _bounds(metadata: Any, name: str) -> tuple[Any, Any] | None:
    """Return the least and the greatest value of a column in a file; None if a row group doesn't state them."""
    column = next((at for at in range(metadata.num_columns) if metadata.schema.column(at).path == name), None)
    if column is None:
        return None
    groups = [metadata.row_group(at).column(column).statistics for at in range(metadata.num_row_groups)]
    if not groups or any(each is None or not each.has_min_max for each in groups):
        return None
    return min(each.min for each in groups), max(each.max for each in groups)


@contextlib.contextmanager
def _catalog_errors() -> Iterator[None]:
    """Raise OSError for the errors of a catalog and its libraries, which have no class in common."""
    try:
        yield
    except CommitFailedException as error:
        raise OSError(f"another process has changed the Iceberg table: {error}") from None
    except OSError:
        raise
    except Exception as error:
        text = (str(error) or type(error).__name__).splitlines()[0]
        raise OSError(f"the Iceberg catalog or table can't be used: {text}") from error
