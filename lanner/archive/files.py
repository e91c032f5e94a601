"""The files of an archive: their names state what they have, so that listing them is enough to find what to read.

A file has the rows of consecutive messages of one partition that were appended in the same hour::

    events/date=2026-11-30/hour=15/00003-00000000000000081920-1764515000123.parquet

are partition 3, the offset of its first message, and that message's timestamp in ms. Two writers that start at the same
message would write the same name, and only one of them can create it: so no message is archived twice. A compacted
file's name ends with ``-c`` and the offset after its last message; it replaces those that begin in its range, which are
deleted after it was made.

Folders are of PyArrow's file systems: a local folder, or a bucket of an S3-compatible store.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import pyarrow as pa
from pyarrow import fs

HOUR_MS = 3_600_000
SUFFIX = ".parquet"
_NAME = re.compile(r"(\d{5})-(\d{20})-(\d{1,20})(?:-c(\d{20}))?\.parquet")
_FOLDER = re.compile(r"date=(\d{4}-\d\d-\d\d)/hour=(\d\d)")


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
