"""A list of indicators: a file and its table, which is replaced as a whole when the file changes."""

import os
import stat
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from io import BufferedIOBase, BufferedReader, BytesIO
from pathlib import Path
from weakref import WeakValueDictionary

from foundation.errors import LannerError
from processor.indicators.formats import MAX_BYTES, Format, Placed, RejectedEntry, format_of, read_entries
from processor.indicators.tables import MAX_ENTRIES, TABLES, BadIndicator, Entry, Kind, Table

MAX_REPORTED = 20
"""The most entries of a file that can't be used and are reported with their places; all are counted."""
_BEGINNING = 4096
"""The bytes of a file by which its format is recognized."""
_Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class IndicatorSpec:
    """What a rule file states about a list."""

    name: str
    file: str
    """As it is written; a relative path is published with the rule file, an absolute one is each processor's own."""
    kind: Kind
    form: Format
    columns: tuple[tuple[str, str], ...] = ()
    """Names of a CSV file's columns, by what they mean."""
    source: str = ""
    """Who provides it, for people."""
    expires_after: int = 0
    """s after the file was written that its entries expire; 0 for never."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Contents:
    """What a file holds."""

    table: Table
    rejected: tuple[RejectedEntry, ...]
    """The first of the entries that can't be used."""
    rejected_count: int
    dated: float
    """When it was written or published, s since the epoch."""
    expires: float
    """When all entries expire, s since the epoch; 0 for never."""


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A file that was published with rules."""

    content: bytes
    """Compressed by gzip."""
    dated: float
    """When it was published, s since the epoch."""


@dataclass(frozen=True, slots=True)
class PublishedFiles:
    """Where the files of published rules are."""

    files: Mapping[str, PackedFile]
    """Those that were published with the rules, by name."""
    folders: tuple[Path, ...] = ()
    """Folders of this host below which those with absolute paths are: whoever publishes rules may read no others."""


_SHARED: WeakValueDictionary[tuple[Path, _Stamp, IndicatorSpec], Contents] = WeakValueDictionary()
"""What lists in use hold: rules are loaded again more often than their lists change."""


class IndicatorList:
    """A list of indicators. Its file is read when the list is used for the first time, or by `load`."""

    def __init__(
        self,
        spec: IndicatorSpec,
        file: Path | PackedFile,
        clock: Callable[[], float] = time.time,
        folders: tuple[Path, ...] | None = None,
    ) -> None:
        """Take a list.

        Args:
            spec: what the rule file states about it.
            file: where it is; or its content, which never changes.
            clock: the time by which entries expire, s since the epoch.
            folders: where the file must be, links followed; None if it may be anywhere.
        """
        self.spec = spec
        self._file = file
        self._clock = clock
        self._folders = folders
        self._stamp: _Stamp | None = None
        self._contents: Contents | None = None
        self._may_have: Callable[[str], bool] = self._first
        """The method of the table: every event with a value calls it."""
        self.accepts: Callable[[Entry], bool] | None = None
        """Which entries count, where only new or only former ones are compared; None for all."""
        self._lock = threading.Lock()

    @property
    def kind(self) -> Kind:
        """The kind of its entries."""
        return self.spec.kind

    @property
    def place(self) -> str:
        """The file, for people."""
        return str(self._file) if isinstance(self._file, Path) else self.spec.file

    @property
    def text(self) -> str:
        """How many entries it has and where they come from, for people."""
        contents = self.contents
        bad = f"; {contents.rejected_count:,} can't be used" if contents.rejected_count else ""
        count = f"{len(contents.table):,} {'entry' if len(contents.table) == 1 else 'entries'}"
        return f"{count} of kind {self.kind} from {self.place}{bad}"

    @property
    def is_local(self) -> bool:
        """True if its file is on this host, and may change."""
        return isinstance(self._file, Path)

    @property
    def contents(self) -> Contents:
        """What the file held when it was read last; nothing if it could not be read."""
        if self._contents is None:
            try:
                return self.load()
            except OSError:
                return self.replace_contents(_read(BytesIO(), self.spec, 0))
        return self._contents

    def load(self) -> Contents:
        """Read the file, unless it was read and did not change. Raises OSError, and keeps what it held before."""
        with self._lock:
            if not isinstance(self._file, Path):
                return self._contents or self.replace_contents(_unpacked(self._file, self.spec))
            with closing(_open(self._file, self._folders)) as file:
                status = os.fstat(file.fileno())
                stamp = _stamp(status)
                if self._contents is not None and stamp == self._stamp:
                    return self._contents
                key = (self._file, stamp, self.spec)
                _SHARED[key] = contents = _SHARED.get(key) or _read(file, self.spec, status.st_mtime)
                self._stamp = stamp
                return self.replace_contents(contents)

    def packed(self) -> bytes:
        """Return the compressed content of the file, to be published. Raises OSError."""
        if not isinstance(self._file, Path):
            return self._file.content
        import gzip  # noqa: PLC0415

        with closing(_open(self._file, self._folders)) as file:
            return gzip.compress(file.read(MAX_BYTES + 1), mtime=0)

    def has_changed(self) -> bool:
        """Return whether the file is not the one that was read. Raises OSError."""
        if not isinstance(self._file, Path):
            return False
        return self._stamp != _stamp(self._file.stat())

    def __getstate__(self) -> tuple[object, ...]:
        """Return what is stored with rules: no entries, whose hashes only this process has, but what the file was."""
        file = str(self._file) if isinstance(self._file, Path) else self._file
        return self.spec, file, None if self._folders is None else tuple(map(str, self._folders)), self._stamp

    def __setstate__(
        self, state: tuple[IndicatorSpec, str | PackedFile, tuple[str, ...] | None, _Stamp | None]
    ) -> None:
        """Take a list from what was stored; its file is not read yet."""
        spec, file, folders, stamp = state
        place = Path(file) if isinstance(file, str) else file
        IndicatorList.__init__(self, spec, place, folders=None if folders is None else tuple(map(Path, folders)))
        self._stamp = stamp

    def holds(self, value: str) -> bool:
        """Return whether an entry that counts now has a value."""
        return self._may_have(value) and self.find(value) is not None

    def _first(self, value: str) -> bool:
        return self.contents.table.may_have(value)

    def replace_contents(self, contents: Contents) -> Contents:
        """Use these entries from now on, and return them."""
        self._contents = contents
        self._may_have = contents.table.may_have
        return contents

    def find(self, value: str) -> Entry | None:
        """Return the most specific entry that has a value, has started to count, and did not expire."""
        contents = self.contents
        entries = contents.table.find(value)
        entry = next(entries, None)
        if entry is None:
            return None
        now = self._clock()
        if 0 < contents.expires <= now:
            return None
        while entry is not None and not (entry.is_valid(now) and (self.accepts is None or self.accepts(entry))):
            entry = next(entries, None)
        return entry


def unpacked(content: bytes) -> bytes:
    """Return the content of a file that was published. Raises OSError."""
    import gzip  # noqa: PLC0415

    try:
        return gzip.GzipFile(fileobj=BytesIO(content)).read(MAX_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise OSError(0, f"its content is damaged: {error}") from None


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class OutsideFolders(LannerError, OSError):
    """A file is below none of the folders where it must be."""


def _open(path: Path, folders: tuple[Path, ...] | None) -> BufferedReader:
    """Open a regular file; anything else could keep the reader waiting. Raises OSError."""
    # Opening a device may do something.
    _check_below(path.resolve(), folders)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "it is not a regular file", str(path))
    file = os.fdopen(descriptor, "rb")
    try:
        # Whoever writes the folder may have made the path a link since then.
        _check_below(Path(f"/proc/self/fd/{descriptor}").readlink(), folders)
    except OSError:
        file.close()
        raise
    return file


def _check_below(path: Path, folders: tuple[Path, ...] | None) -> None:
    if folders is not None and not any(path.is_relative_to(folder.resolve()) for folder in folders):
        raise OutsideFolders(0, f"it is not below {' or '.join(map(str, folders)) or 'any allowed folder'}", str(path))


def _unpacked(file: PackedFile, spec: IndicatorSpec) -> Contents:
    import gzip  # noqa: PLC0415

    try:
        return _read(gzip.GzipFile(fileobj=BytesIO(file.content)), spec, file.dated)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise OSError(0, f"its content is damaged: {error}", spec.file) from None


def _read(data: BufferedIOBase, spec: IndicatorSpec, dated: float) -> Contents:
    table = TABLES[spec.kind]()
    rejected, count = _fill((table,), read_entries(data, spec.form, spec.kind, dict(spec.columns)))
    expires = dated + spec.expires_after if spec.expires_after else 0
    return Contents(table, rejected, count, dated, expires)


def _fill(tables: Sequence[Table], entries: Iterable[Placed | RejectedEntry]) -> tuple[tuple[RejectedEntry, ...], int]:
    """Add each entry to the first table that takes it; return what can't be used, and how much that is."""
    rejected: list[RejectedEntry] = []
    count = 0
    for each in entries:
        # What can't be used takes as long to read.
        is_full = sum(map(len, tables)) + count >= MAX_ENTRIES and isinstance(each, Placed)
        found: RejectedEntry | None
        if is_full:
            found = RejectedEntry(
                each.line, each.column, f"the file has more than {MAX_ENTRIES:,} entries: the rest is not read"
            )
        else:
            found = each if isinstance(each, RejectedEntry) else _added(tables, each)
        if found is not None:
            count += 1
            if len(rejected) < MAX_REPORTED:
                rejected.append(found)
        if is_full:
            break
    for table in tables:
        table.finish()
    # A list of which most can't be used is another file, whose lines may be secrets.
    if count <= sum(map(len, tables)):
        rejected = [replace(each, reason=f"{each.shown!r}: {each.reason}") if each.shown else each for each in rejected]
    return tuple(rejected), count


def _added(tables: Sequence[Table], placed: Placed) -> RejectedEntry | None:
    reason = ""
    for table in tables:
        try:
            table.add(placed.entry)
        except BadIndicator as error:
            reason = str(error)
        else:
            return None
    if len(tables) > 1:
        reason = "it is no address, network, digest or name"
    return RejectedEntry(placed.line, placed.column, reason, placed.entry.text[:60])


_BY_SHAPE: tuple[Kind, ...] = ("address", "digest", "name")
"""Kinds that an entry shows by its form. A digest is a name as well, so names come last."""


@dataclass(frozen=True, slots=True)
class MixedFile:
    """A file that is no list of a rule: its entries are of the kinds that they have the form of."""

    lists: tuple["IndicatorList", ...]
    """One of each kind of which there are entries."""
    rejected: tuple[RejectedEntry, ...]
    rejected_count: int


def read_mixed(path: Path, column: str | None = None) -> MixedFile:
    """Read a file of addresses, networks, digests and names, whose format its name or its beginning shows.

    column: of a CSV file, the name of the column that has the entries. Raises OSError.
    """
    with closing(_open(path, None)) as file:
        form = format_of(path.name, file.peek(_BEGINNING)[:_BEGINNING])
        columns = {"value": column} if column is not None else {}
        dated = os.fstat(file.fileno()).st_mtime
        tables = {kind: TABLES[kind]() for kind in _BY_SHAPE}
        if form in ("text", "csv"):
            rejected, count = _fill(tuple(tables.values()), read_entries(file, form, "text", columns))
        else:
            rejected, count = (), 0
            for kind, table in tables.items():
                file.seek(0)
                # Much of what is wrong is found for each kind.
                found, number = _fill((table,), read_entries(file, form, kind, columns))
                rejected, count = tuple(dict.fromkeys((*rejected, *found)))[:MAX_REPORTED], max(count, number)
    lists = []
    for kind, table in tables.items():
        if len(table):
            one = IndicatorList(IndicatorSpec(path.name, str(path), kind, form), path)
            one.replace_contents(Contents(table, (), 0, dated, 0))
            lists.append(one)
    return MixedFile(tuple(lists), rejected, count)
