"""Finds files in the databases of packages of dpkg, apk and rpm below a root directory.

A container decides what its databases contain, so each is bounded in bytes before it is decoded, and runs out of memory
or time in the look-up server, not in the collector.
"""

import base64
import fcntl
import os
import re
import stat
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import closing as closing_object
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from collector.procfs.foreign_files import closing, open_below, read_below
from collector.procfs.reading import read_up_to
from foundation.caches import BoundedMap

_INFO, _STATUS = "var/lib/dpkg/info", "var/lib/dpkg/status"
_DISTROLESS = "var/lib/dpkg/status.d"
"""Where images without dpkg have both, one file for each package."""
_DIVERSIONS = "var/lib/dpkg/diversions"
_APK = "lib/apk/db/installed"
_RPM = ("var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite")
_LOCKS = ("var/lib/dpkg/lock", "var/lib/rpm/.rpm.lock", "usr/lib/sysimage/rpm/.rpm.lock")
_SUMS = ".md5sums"
_MAX_STATUS, _MAX_SUMS, _MAX_DIVERSIONS, _MAX_APK, _MAX_RPM = 32 << 20, 4 << 20, 1 << 20, 32 << 20, 256 << 20
_MAX_FILES, _MAX_INDEX_BYTES = 1 << 14, 128 << 20
"""Packages of an index; the number of a package has 14 bits."""
_MAX_INDEXES = 4
_MAX_FOLDERS = 256
"""Packages of apk with the same directory, and packages of rpm with a file of the same name, that are looked at."""
_SUM = struct.Struct("=32s2x")
_MERGED = frozenset({"bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"})
_LOCK = struct.Struct("hhlli")


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file as its package lists it."""

    package: str
    version: str
    algorithm: str
    """As hashlib names it."""
    digest: str
    """In hexadecimal; empty if the package states none."""


class Packages:
    """The databases of packages; indexes of the last few of dpkg are cached."""

    def __init__(self) -> None:
        self._indexes: BoundedMap[tuple[int, int, int], _Index] = BoundedMap(_MAX_INDEXES)

    def find(self, root: int, path: str) -> ListedFile | None:
        """Return how a package lists a file; None if none does.

        Args:
            root: an open root directory.
            path: the absolute path below it. A file in /usr/bin may be listed in /bin, or the other way around.
        """
        for name in _names_of(path):
            for search in (self._find_dpkg, _find_apk, _find_rpm):
                with suppress(OSError):
                    if (listed := search(root, name)) is not None:
                        return listed
        return None

    def _find_dpkg(self, root: int, path: str) -> ListedFile | None:
        name, owners = _diverted(root, path)
        for folder in (_INFO, _DISTROLESS):
            with suppress(OSError), closing(open_below(root, folder)) as location:
                found = os.fstat(location)
                key = found.st_dev, found.st_ino, found.st_mtime_ns
                index = self._indexes.get(key)
                if index is None:
                    index = _Index(location)
                    self._indexes.put(key, index)
                for package, digest in index.find(location, os.fsencode(name[1:])):
                    if owners(package):
                        return ListedFile(package, _version(root, location, package), "md5", digest)
        return None


def exist(root: int) -> bool:
    """Return whether a root directory has a database that can be read."""
    for path in (_INFO, _DISTROLESS, _APK, *_RPM):
        with suppress(OSError), closing(open_below(root, path)):
            return True
    return False


def are_changing(root: int) -> bool:
    """Return whether dpkg or rpm is at work: files may then be newer, or older, than their lists."""
    for path in _LOCKS:
        with suppress(OSError), closing(open_below(root, path)) as location:
            if not stat.S_ISREG(os.fstat(location).st_mode):
                continue
            with closing(os.open(f"/proc/self/fd/{location}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)) as file:
                asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
                if _LOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK:
                    return True
    return False


def _names_of(path: str) -> tuple[str, ...]:
    """Return the paths under which a package may list a file: distributions have merged /bin into /usr/bin."""
    top, _, below = path[1:].partition("/")
    if top == "usr" and below.partition("/")[0] in _MERGED:
        return path, f"/{below}"
    return (path, f"/usr{path}") if top in _MERGED else (path,)


class _Index:
    """Where the files of dpkg's packages are listed: 8 bytes for each file, part of its hash and its package's number.

    Hashes of texts differ between processes, so nobody can choose files whose hashes are equal.
    """

    def __init__(self, folder: int) -> None:
        self._packages: list[str] = []
        entries = array("Q")
        left = _MAX_INDEX_BYTES
        own = os.open(f"/proc/self/fd/{folder}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with closing(own) as listing, os.scandir(listing) as files:
            names = [each.name for each in islice(files, 16 * _MAX_FILES) if each.name.endswith(_SUMS)]
        for name in names[:_MAX_FILES]:
            read = read_below(folder, name, links=False, limit=min(left, _MAX_SUMS))
            if read is None:
                continue
            left -= len(read[0])
            number = len(self._packages)
            self._packages.append(name.removesuffix(_SUMS))
            entries.extend([_hash(line[_SUM.size :]) << 14 | number for line in read[0].split(b"\n") if line])
        self._entries = array("Q", sorted(entries))

    def find(self, folder: int, path: bytes) -> Iterator[tuple[str, str]]:
        """Yield package and digest for each list that has a path, by the lists as they are now."""
        wanted = _hash(path)
        at = bisect_left(self._entries, wanted << 14)
        while at < len(self._entries) and self._entries[at] >> 14 == wanted:
            package = self._packages[self._entries[at] & _MAX_FILES - 1]
            at += 1
            read = read_below(folder, package + _SUMS, links=False, limit=_MAX_SUMS)
            found = read and re.search(rb"^([0-9a-f]{32})  " + re.escape(path) + b"$", read[0], re.MULTILINE)
            if found:
                yield package.partition(":")[0], found[1].decode("ascii")


def _hash(path: bytes) -> int:
    return hash(path) & (1 << 50) - 1


def _version(root: int, folder: int, package: str) -> str:
    own = read_below(folder, package, links=False, limit=_MAX_SUMS)
    read = own or read_below(root, _STATUS, limit=_MAX_STATUS)
    text = b"" if read is None else b"\n" + read[0]
    begin = text.find(b"\nPackage: " + os.fsencode(package) + b"\n")
    end = text.find(b"\n\n", begin)
    found = (
        re.search(rb"\nVersion: ([^\n]{1,200})", text[begin : len(text) if end < 0 else end]) if begin >= 0 else None
    )
    return found[1].decode("utf-8", "replace") if found else ""


class _Owners:
    """Which packages may list a path: all, only one, or all but one."""

    def __init__(self, only: str | None = None, but: str | None = None) -> None:
        self._only, self._but = only, but

    def __call__(self, package: str) -> bool:
        return package != self._but and self._only in {None, package}


def _diverted(root: int, path: str) -> tuple[str, _Owners]:
    """Return the path under which a file is listed, and by whom. Source: dpkg-divert(1)."""
    read = read_below(root, _DIVERSIONS, limit=_MAX_DIVERSIONS)
    lines = [] if read is None else read[0].decode("utf-8", "surrogateescape").split("\n")
    for contested, to, package in zip(lines[::3], lines[1::3], lines[2::3], strict=False):
        if path == contested:
            return path, _Owners(only=package)
        if path == to:
            return contested, _Owners(but=package)
    return path, _Owners()


def _find_apk(root: int, path: str) -> ListedFile | None:
    """Source: apk-tools, doc/apk-package.5 and src/database.c: each line has a key of one character and a value."""
    read = read_below(root, _APK, limit=_MAX_APK)
    if read is None:
        return None
    text = b"\n" + read[0]
    folder, _, name = os.fsencode(path[1:]).rpartition(b"/")
    wanted, at = b"\nF:" + folder + b"\n", 0
    entry = re.compile(
        rb"\nR:" + re.escape(name) + rb"(?:\n[a-z]:[^\n]{0,200}){0,4}\nZ:Q([12])([A-Za-z0-9+/=]{1,100})\n"
    )
    for _ in range(_MAX_FOLDERS):
        at = text.find(wanted, at)
        if at < 0:
            break
        ends = [end for mark in (b"\nF:", b"\n\n") if (end := text.find(mark, at + len(wanted) - 1)) >= 0]
        found = entry.search(text, at + len(wanted) - 1, min(ends, default=len(text)) + 1)
        if found is not None:
            head = text[text.rfind(b"\n\n", 0, at) + 1 : at]
            package, version = (re.search(rb"\n" + key + rb":([^\n]{1,200})", head) for key in (b"P", b"V"))
            with suppress(ValueError):
                return ListedFile(
                    "" if package is None else package[1].decode("utf-8", "replace"),
                    "" if version is None else version[1].decode("utf-8", "replace"),
                    "sha1" if found[1] == b"1" else "sha256",
                    base64.b64decode(found[2]).hex(),
                )
        at += len(wanted) - 1
    return None


_NAME, _VERSION, _RELEASE, _EPOCH = 1000, 1001, 1002, 1003
_DIGESTS, _DIRECTORY_INDEXES, _BASE_NAMES, _DIRECTORIES, _ALGORITHM = 1035, 1116, 1117, 1118, 5011
_ALGORITHMS = {1: "md5", 2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512"}
_ENTRY = struct.Struct(">IIiI")
_MAX_ENTRIES, _MAX_HEADER = 1 << 12, 64 << 20
_MAX_STEPS = 1_000_000
"""Instructions of SQLite for a query; one takes a few thousand, and these some ten milliseconds."""


def _find_rpm(root: int, path: str) -> ListedFile | None:
    """Read the database into memory: SQLite itself would follow a container's path on the host."""
    folder, _, name = path.rpartition("/")
    for place in _RPM:
        with suppress(OSError, ValueError, IndexError, struct.error), closing(open_below(root, place)) as location:
            found = os.fstat(location)
            if not stat.S_ISREG(found.st_mode) or not 100 < found.st_size <= _MAX_RPM:
                continue
            with closing(os.open(f"/proc/self/fd/{location}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)) as file:
                content = bytearray(read_up_to(file, _MAX_RPM))
            for header, index in _headers(content, name):
                if (listed := _listed(header, index, f"{folder}/")) is not None:
                    return listed
    return None


def _headers(content: bytearray, name: str) -> list[tuple[bytes, int]]:
    import sqlite3  # noqa: PLC0415 - only hosts and images with rpm need it

    # A database in memory has no log; without this, SQLite refuses one that had.
    content[18:20] = b"\1\1"
    try:
        with closing_object(sqlite3.connect(":memory:")) as database:
            database.deserialize(bytes(content))
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_HEADER)
            # A table may be a view, whose query takes as long as its author likes.
            database.set_progress_handler(lambda: True, _MAX_STEPS)
            return database.execute(
                "SELECT blob, idx FROM Basenames JOIN Packages USING (hnum) WHERE key IN (?, ?) LIMIT ?",
                (name, os.fsencode(name), _MAX_FOLDERS),
            ).fetchall()
    except sqlite3.Error:
        return []


def _listed(header: bytes, index: int, folder: str) -> ListedFile | None:
    """Return the entry of a file in a package's header, if it is in a folder. Source: rpm, docs/manual/hregions.md."""
    entries, size = struct.unpack_from(">II", header)
    if entries > _MAX_ENTRIES:
        return None
    data = 8 + _ENTRY.size * entries
    tags = {tag: (at + data, count) for tag, _, at, count in _ENTRY.iter_unpack(header[8:data])}

    def number(tag: int, at: int = 0) -> int | None:
        if tag not in tags or not 0 <= at < tags[tag][1]:
            return None
        return int.from_bytes(header[tags[tag][0] + 4 * at :][:4], "big")

    def text(tag: int, at: int = 0) -> str:
        if tag not in tags or not 0 <= at < tags[tag][1]:
            return ""
        return header[tags[tag][0] : data + size].split(b"\0", at + 1)[at].decode("utf-8", "surrogateescape")

    directory = number(_DIRECTORY_INDEXES, index)
    if directory is None or text(_DIRECTORIES, directory) != folder:
        return None
    epoch = number(_EPOCH)
    version = f"{'' if epoch is None else f'{epoch}:'}{text(_VERSION)}-{text(_RELEASE)}"
    return ListedFile(text(_NAME), version, _ALGORITHMS.get(number(_ALGORITHM) or 1, ""), text(_DIGESTS, index))
