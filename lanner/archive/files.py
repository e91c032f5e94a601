"""The files of an archive, listed and written: their names state what they have, so that a listing finds what to read.

A file has the rows of consecutive messages of one partition that were appended in the same hour::

    events/date=2026-11-30/hour=15/00003-00000000000000081920-1764515000123.parquet

are partition 3, the offset of its first message, and that message's timestamp in ms. Two writers that start at the same
message would write the same name, and only one of them can create it: so no message is archived twice. A compacted
file's name ends with ``-c`` and the offset after its last message; it replaces those that begin in its range, which are
deleted after it was made.

A file appears complete, once, with the offset after its last message in its metadata; so the files themselves state
where reading continues. A process that is killed at any point loses nothing: messages that are in no file are read
again. It stores nothing twice either: a file that would have them again has the same name, and none is ever replaced.

Folders are of PyArrow's file systems: a local folder, or a bucket of an S3-compatible store.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from foundation.errors import LannerError
from lanner.archive.schema import DATASETS, IDENTITY, MESSAGE, VERSION
from schemas.encoding.batch import BadBatch

HOUR_MS = 3_600_000
SUFFIX = ".parquet"
_NAME = re.compile(r"(\d{5})-(\d{20})-(\d{1,20})(?:-c(\d{20}))?\.parquet")
_FOLDER = re.compile(r"date=(\d{4}-\d\d-\d\d)/hour=(\d\d)")
_END = b"lanner.end"
_VERSION = b"lanner.version"
_LEVEL = 3
_UPLOAD_BYTES = 8 << 20
_DICTIONARY_BYTES = 256 << 20
"""More than the texts of a row group."""
_SURE = ("time", *MESSAGE, *IDENTITY, "index", "number", "proc_row")
"""Columns that have a value in each row, of those that a dataset has."""
_IN_DELTAS = ("time", "time_us", "number", "index", "offset", "appended")
"""Columns that grow by little from row to row."""


@dataclass(frozen=True, slots=True, order=True)
class ArchiveFile:
    """A file."""

    hour: int
    """The hour in which its messages were appended, ms since the epoch."""
    partition: int
    first: int
    """The offset of its first message."""
    appended: int
    """That message's timestamp, ms since the epoch."""
    end: int | None
    """The offset after its last message, if it is a compacted file; other files state that in their metadata."""
    path: str
    """In the archive's file system."""
    size: int
    """In bytes."""

    @property
    def name(self) -> str:
        """Its file name."""
        return self.path.rpartition("/")[2]


def file_name(partition: int, first: int, appended: int, end: int | None = None) -> str:
    """Return the name of a file; ArchiveFile describes the arguments."""
    compacted = "" if end is None else f"-c{end:020}"
    return f"{partition:05}-{first:020}-{appended}{compacted}{SUFFIX}"


def hour_of(appended: int) -> int:
    """Return the start of a time's hour; both in ms since the epoch."""
    return appended // HOUR_MS * HOUR_MS


def folder_of(hour: int) -> str:
    """Return the folder of an hour, ms since the epoch, in that of its dataset."""
    return datetime.fromtimestamp(hour // 1000, UTC).strftime("date=%Y-%m-%d/hour=%H")


def read_name(folder: str, path: str, size: int) -> ArchiveFile | None:
    """Return the file at a path in the folder of a dataset; None for other files."""
    directory, _, name = path.removeprefix(f"{folder}/").rpartition("/")
    hour, found = _FOLDER.fullmatch(directory), _NAME.fullmatch(name)
    if hour is None or found is None:
        return None
    try:
        began = datetime.fromisoformat(f"{hour[1]}T{hour[2]}:00:00+00:00")
    except ValueError:
        return None
    end = None if found[4] is None else int(found[4])
    return ArchiveFile(
        int(began.timestamp()) * 1000, int(found[1]), int(found[2]), int(found[3]), end, path, size
    )  # fmt: skip


def without_replaced(files: Iterable[ArchiveFile]) -> tuple[list[ArchiveFile], list[ArchiveFile]]:
    """Return the files to read, and those that a compacted file replaces."""
    read: list[ArchiveFile] = []
    replaced: list[ArchiveFile] = []
    widest: ArchiveFile | None = None
    for each in sorted(files, key=lambda each: (each.partition, each.first, -(each.end or 0))):
        if widest is not None and widest.partition == each.partition and each.first < (widest.end or 0):
            replaced.append(each)
            continue
        read.append(each)
        if each.end is not None:
            widest = each
    return sorted(read), replaced


class RowForm(Protocol):
    """The form in which a dataset's rows are written."""

    def applied(self, rows: pa.Table) -> pa.Table:
        """Return rows in this form."""


class ArchiveFiles:
    """The folder of an archive, for reading."""

    def __init__(self, system: fs.FileSystem, root: str) -> None:
        """Take a folder. system: that of the folder; root: its path there, without a slash at its end."""
        self.system = system
        self.root = root
        self.forms: Mapping[str, RowForm] = {}
        """By dataset, how its files are written if a table refers to them; other files are as in the schema."""

    def select(self, dataset: str, since: int = 0, until: int | None = None) -> Sequence[ArchiveFile]:
        """Return the files whose messages may have been appended in a time range, oldest first. Raises OSError.

        Args:
            dataset: events, batches or alerts.
            since: its start, ms since the epoch.
            until: its end; None for no end.
        """
        found = [each for hour in self._hours(dataset, since, until) for each in self._in(dataset, hour)]
        return without_replaced(found)[0]

    def all(self, dataset: str) -> list[ArchiveFile]:
        """Return all files, also those that compacted ones replace. Raises OSError."""
        return list(self._in(dataset, f"{self.root}/{dataset}"))

    def _hours(self, dataset: str, since: int, until: int | None) -> Iterator[str]:
        """Yield the folders of the hours of a range."""
        folder = f"{self.root}/{dataset}"
        days = self.system.get_file_info(fs.FileSelector(folder, allow_not_found=True))
        first = folder_of(hour_of(since))
        last = "~" if until is None else folder_of(hour_of(until))
        for day in sorted(each.path for each in days):
            if not first.partition("/")[0] <= day.rpartition("/")[2] <= last.partition("/")[0]:
                continue
            for each in self.system.get_file_info(fs.FileSelector(day, allow_not_found=True)):
                if first <= each.path.removeprefix(f"{folder}/") <= last:
                    yield each.path

    def _in(self, dataset: str, folder: str) -> Iterator[ArchiveFile]:
        for each in self.system.get_file_info(fs.FileSelector(folder, allow_not_found=True, recursive=True)):
            if each.type == fs.FileType.File:
                found = read_name(f"{self.root}/{dataset}", each.path, each.size or 0)
                if found is not None:
                    yield found


def open_folder(text: str, endpoint: str | None = None) -> ArchiveFiles:
    """Return the archive at a local path, or at s3://BUCKET/PATH. Raises OSError or ValueError if it can't be opened.

    endpoint: the URL of an S3-compatible store; None for Amazon's. Credentials come from the environment, as the AWS
    tools take them.
    """
    if not text.startswith("s3://"):
        return ArchiveFiles(fs.LocalFileSystem(), text.rstrip("/"))
    options: dict[str, str] = {}
    if endpoint:
        scheme, _, host = endpoint.rpartition("://")
        options = {"endpoint_override": host.rstrip("/"), "scheme": scheme or "https"}
    return ArchiveFiles(fs.S3FileSystem(**options, allow_delayed_open=True), text.removeprefix("s3://").rstrip("/"))


class AlreadyStored(LannerError, FileExistsError):
    """The archive has this file."""


def store(
    files: ArchiveFiles,
    dataset: str,
    bounds: tuple[int, int, int],
    appended: int,
    rows: Iterable[pa.Table],
    *,
    is_compacted: bool = False,
) -> int:
    """Write a file of a dataset, and return its size in bytes.

    Args:
        files: the archive.
        dataset: events, batches or alerts.
        bounds: the partition, the offset of the first message, and that after the last.
        appended: the first message's timestamp, ms since the epoch.
        rows: the rows, each table a row group.
        is_compacted: whether it replaces those that begin within its bounds.

    Raises:
        AlreadyStored: there is a file that begins with this message.
        OSError: the folder or bucket can't be written to.
    """
    partition, first, end = bounds
    name = file_name(partition, first, appended, end if is_compacted else None)
    folder = f"{files.root}/{dataset}/{folder_of(hour_of(appended))}"
    path = f"{folder}/{name}"
    if files.system.get_file_info(path).type != fs.FileType.NotFound:
        raise AlreadyStored(path)
    metadata = {_END: str(end).encode(), _VERSION: VERSION.encode()}
    schema, form = DATASETS[dataset], files.forms.get(dataset)
    if form is not None:
        schema, rows = form.applied(schema.empty_table()).schema, map(form.applied, rows)
    if not isinstance(files.system, fs.LocalFileSystem):
        with tempfile.TemporaryFile() as whole:
            # It has no name, so a process that is killed leaves nothing.
            local = f"/proc/self/fd/{whole.fileno()}"
            size = _written(local, schema, rows, metadata)
            _upload(files.system, path, local)
        return size
    Path(folder).mkdir(parents=True, exist_ok=True)
    partial = f"{folder}/.{name}.{os.getpid()}"
    try:
        size = _written(partial, schema, rows, metadata)
        _flush(partial)
        # A link, unlike a renaming, fails if another writer was first.
        os.link(partial, path)
        _flush(folder)
    except FileExistsError:
        raise AlreadyStored(path) from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(partial).unlink()
    return size


def _upload(system: fs.FileSystem, path: str, whole: str) -> None:
    """Copy a complete file into a store, where it appears when its upload is complete.

    PyArrow completes an upload also after an error of whoever writes to it; here, nothing but the upload can fail.
    """
    with Path(whole).open("rb") as file, system.open_output_stream(path) as out:
        shutil.copyfileobj(file, out, _UPLOAD_BYTES)


def _written(path: str, schema: pa.Schema, rows: Iterable[pa.Table], metadata: Mapping[bytes, bytes]) -> int:
    deltas = {name: "DELTA_BINARY_PACKED" for name in schema.names if name in _IN_DELTAS}
    found = iter(rows)
    first = next(found, None)
    with fs.LocalFileSystem().open_output_stream(path) as out:
        with pq.ParquetWriter(
            out,
            schema if first is None else first.schema,
            compression="zstd",
            compression_level=_LEVEL,
            store_schema=False,
            use_dictionary=[path for field in schema if field.name not in deltas for path, _ in _leaves(field)],
            # Beyond it, each row has its text: with a hostile host's texts, gigabytes.
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
            column_encoding=deltas,
        ) as writer:
            for table in chain(() if first is None else (first,), found):
                writer.write_table(table)
            writer.add_key_value_metadata(metadata)
        return int(out.tell())


def dictionaries(schema: pa.Schema) -> list[str]:
    """Return the columns of texts, as Parquet names them, which are smaller in memory as dictionaries."""
    return [path for field in schema for path, kind in _leaves(field) if pa.types.is_string(kind)]


def _leaves(field: pa.Field, prefix: str = "") -> Iterator[tuple[str, pa.DataType]]:
    """Yield the columns of a file that a field becomes, and their types."""
    path, kind = prefix + field.name, field.type
    if pa.types.is_list(kind):
        yield from _leaves(pa.field("element", kind.value_type), f"{path}.list.")
    elif pa.types.is_struct(kind):
        for each in kind:
            yield from _leaves(each, f"{path}.")
    else:
        yield path, kind


def _flush(path: str) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def end_of(files: ArchiveFiles, file: ArchiveFile) -> int:
    """Return the offset after a file's last message. Raises OSError, and BadBatch if the file is damaged."""
    if file.end is not None:
        return file.end
    stated = metadata_of(files, file).metadata or {}
    try:
        return int(stated[_END])
    except (KeyError, ValueError):
        raise BadBatch(f"{file.path}: no file of an archive: its metadata lacks an offset") from None


def metadata_of(files: ArchiveFiles, file: ArchiveFile) -> Any:
    """Return the Parquet metadata of a file. Raises OSError, and BadBatch if it is damaged."""
    with reading(file), files.system.open_input_file(file.path) as opened:
        return pq.read_metadata(opened)


def positions(files: ArchiveFiles, dataset: str, partitions: Iterable[int]) -> dict[int, int]:
    """Return the offset at which to continue in each partition of which the archive has messages.

    Raises OSError, and BadBatch if the newest file of a partition is damaged.
    """
    newest: dict[int, ArchiveFile] = {}
    for each in files.all(dataset):
        known = newest.get(each.partition)
        if known is None or (each.first, each.end or 0) > (known.first, known.end or 0):
            newest[each.partition] = each
    return {number: end_of(files, newest[number]) for number in partitions if number in newest}


def read_rows(files: ArchiveFiles, file: ArchiveFile, dataset: str, where: Any = None) -> pa.Table:
    """Return the rows of a file in the present schema, whichever release wrote it.

    where: an expression of PyArrow that selects rows. Raises OSError, and BadBatch if the file is damaged.
    """
    with reading(file), files.system.open_input_file(file.path) as opened:
        return complete(conformed(pq.read_table(opened, filters=where), DATASETS[dataset]))


@contextlib.contextmanager
def reading(file: ArchiveFile) -> Iterator[None]:
    """Raise BadBatch for a file whose contents are wrong, with its path."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and (error.errno or "AWS Error" in str(error)):
            raise
        raise BadBatch(f"{file.path}: {str(error).splitlines()[0]}") from None


def conformed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows in a schema: with nulls for columns that they lack, and without columns that it lacks."""
    columns = []
    for field in schema:
        if field.name in rows.schema.names:
            columns.append(rows[field.name].cast(field.type))
        else:
            columns.append(pa.nulls(rows.num_rows, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def complete(rows: pa.Table) -> pa.Table:
    """Return rows in a dataset's schema. Raises ArrowInvalid if they lack a value that all rows of an archive have."""
    lacking = [name for name in _SURE if name in rows.schema.names and rows[name].null_count]
    if lacking:
        raise pa.ArrowInvalid(f"these are no rows of an archive: {', '.join(lacking)} is missing")
    return rows
