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
from collections.abc import Iterable, Iterator
from contextlib import closing as closing_object
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from collector.procfs.foreign_files import closing, open_below, open_made_by_root, read_below
from collector.procfs.reading import read_file, read_up_to
from foundation.caches import BoundedMap

INFO, STATUS = "var/lib/dpkg/info", "var/lib/dpkg/status"
DISTROLESS = "var/lib/dpkg/status.d"
"""Where images without dpkg have both, one file for each package."""
_DIVERSIONS = "var/lib/dpkg/diversions"
APK = "lib/apk/db/installed"
_RPM = ("var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite")
DATABASES = (INFO, STATUS, DISTROLESS, APK, *_RPM)
"""Where databases are, below a root directory."""
_LOCKS = ("var/lib/dpkg/lock", "var/lib/rpm/.rpm.lock", "usr/lib/sysimage/rpm/.rpm.lock")
_SUMS = ".md5sums"
MAX_STATUS, _MAX_SUMS, _MAX_DIVERSIONS, MAX_APK, _MAX_RPM = 32 << 20, 4 << 20, 1 << 20, 32 << 20, 256 << 20
MAX_FILES, _MAX_INDEX_BYTES = 1 << 14, 128 << 20
"""Packages of an index; the number of a package has 14 bits."""
_MAX_INDEXES = 4
_MAX_FOLDERS = 256
"""Packages of apk with the same directory, and packages of rpm with a file of the same name, that are looked at."""
_SUM = struct.Struct("=32s2x")
_MERGED = frozenset({"bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"})
_LOCK = struct.Struct("hhlli")
_APK_LOCK = "lib/apk/db/lock"
_MAX_LOCKS = 1 << 20
_SHORT = 40
"""Hexadecimal digits of a digest of 160 bits."""


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file as its package lists it."""

    package: str
    version: str
    algorithm: str
    """As hashlib names it."""
    digest: str
    """In hexadecimal, perhaps only the first 160 bits; empty if the package states none."""
    type: str
    """The package's: deb, rpm, apk, snap or flatpak."""

    def has(self, digest: str) -> bool:
        """Return whether a file with a digest, made by the algorithm, is as listed."""
        return len(self.digest) >= min(len(digest), _SHORT) and digest.startswith(self.digest)


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

    def owners(self, root: int, paths: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Return which packages list files: for each path that one lists, "dpkg", "apk" or "rpm", and its name.

        The name of a package of dpkg may end with its architecture, as in libc6:amd64. Arguments as for find().
        """
        found = {}
        databases = [*_rpm_databases(root)]
        for path in paths:
            for name in _names_of(path):
                with suppress(OSError):
                    if (own := next(self._dpkg_lists(root, name), None)) is not None:
                        found[path] = "dpkg", own[1]
                    elif (listed := _find_apk(root, name)) is not None:
                        found[path] = "apk", listed.package
                    elif (listed := _listed_in(databases, name)) is not None:
                        found[path] = "rpm", listed.package
                if path in found:
                    break
        return found

    def _find_dpkg(self, root: int, path: str) -> ListedFile | None:
        for folder, name, digest in self._dpkg_lists(root, path):
            package = name.partition(":")[0]
            return ListedFile(package, _version(root, folder, package), "md5", digest, "deb")
        return None

    def _dpkg_lists(self, root: int, path: str) -> Iterator[tuple[int, str, str]]:
        """Yield the packages that list a file: the open folder of their lists, name and digest."""
        name, owners = _diverted(root, path)
        for folder in (INFO, DISTROLESS):
            with suppress(OSError), closing(open_below(root, folder)) as location:
                found = os.fstat(location)
                key = found.st_dev, found.st_ino, found.st_mtime_ns
                index = self._indexes.get(key)
                if index is None:
                    index = _Index(location)
                    self._indexes.put(key, index)
                for package, digest in index.find(location, os.fsencode(name[1:])):
                    if owners(package.partition(":")[0]):
                        yield location, package, digest


def exist(root: int) -> bool:
    """Return whether a root directory has a database that can be read."""
    for path in DATABASES:
        with suppress(OSError), closing(open_below(root, path)):
            return True
    return False


def are_made_by_root(root: str) -> bool:
    """Return whether a root directory, given by its path, has databases, none of which others than root can change."""
    has_any = False
    for path in DATABASES:
        try:
            with closing(open_made_by_root(path, root)):
                has_any = True
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return False
    return has_any


def are_changing(root: int) -> bool:
    """Return whether dpkg, rpm or apk is at work: files may then be newer, or older, than their lists."""
    for path in _LOCKS:
        with suppress(OSError), closing(open_below(root, path)) as location:
            if not stat.S_ISREG(os.fstat(location).st_mode):
                continue
            with closing(os.open(f"/proc/self/fd/{location}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)) as file:
                asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
                if _LOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK:
                    return True
    with suppress(OSError), closing(open_below(root, _APK_LOCK)) as location:
        found = os.fstat(location)
        # A descriptor shows such a lock only to an attempt to lock it, which would make apk fail.
        held = f" {os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino} ".encode()
        locks = read_file("/proc/locks", _MAX_LOCKS)
        return any(b"FLOCK" in row and held in row for row in (locks or b"").splitlines())
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
            names = [each.name for each in islice(files, 16 * MAX_FILES) if each.name.endswith(_SUMS)]
        for name in names[:MAX_FILES]:
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
            package = self._packages[self._entries[at] & MAX_FILES - 1]
            at += 1
            read = read_below(folder, package + _SUMS, links=False, limit=_MAX_SUMS)
            found = read and re.search(rb"^([0-9a-f]{32})  " + re.escape(path) + b"$", read[0], re.MULTILINE)
            if found:
                yield package, found[1].decode("ascii")


def _hash(path: bytes) -> int:
    return hash(path) & (1 << 50) - 1


def _version(root: int, folder: int, package: str) -> str:
    own = read_below(folder, package, links=False, limit=_MAX_SUMS)
    read = own or read_below(root, STATUS, limit=MAX_STATUS)
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
    """Source: apk-tools, doc/apk-package.5 and src/database.c: each line has a key of one character and a value.

    Packages of version 3 have the flag S, and 160 bits of SHA-256 where others have SHA-1.
    """
    read = read_below(root, APK, limit=MAX_APK)
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
            package, version, flags = (
                re.search(rb"\n" + key + rb":([^\n]{1,200})", head) for key in (b"P", b"V", b"f")
            )
            is_sha1 = found[1] == b"1" and (flags is None or b"S" not in flags[1])
            with suppress(ValueError):
                return ListedFile(
                    "" if package is None else package[1].decode("utf-8", "replace"),
                    "" if version is None else version[1].decode("utf-8", "replace"),
                    "sha1" if is_sha1 else "sha256",
                    base64.b64decode(found[2]).hex(),
                    "apk",
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
    return _listed_in(_rpm_databases(root), path)


def _listed_in(databases: Iterable[bytes], path: str) -> ListedFile | None:
    folder, _, name = path.rpartition("/")
    query = "SELECT blob, idx FROM Basenames JOIN Packages USING (hnum) WHERE key IN (?, ?) LIMIT ?"
    for content in databases:
        with suppress(ValueError, IndexError, struct.error):
            for header, index in _rows(content, query, (name, os.fsencode(name), _MAX_FOLDERS)):
                if (listed := _listed(RpmHeader(header), index, f"{folder}/")) is not None:
                    return listed
    return None


def _rpm_databases(root: int) -> Iterator[bytes]:
    """Read the databases into memory: SQLite itself would follow a container's path on the host."""
    for place in _RPM:
        with suppress(OSError), closing(open_below(root, place)) as location:
            found = os.fstat(location)
            if not stat.S_ISREG(found.st_mode) or not 100 < found.st_size <= _MAX_RPM:
                continue
            with closing(os.open(f"/proc/self/fd/{location}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)) as file:
                content = bytearray(read_up_to(file, _MAX_RPM))
            # A database in memory has no log; without this, SQLite refuses one that had.
            content[18:20] = b"\1\1"
            yield bytes(content)


def rpm_headers(root: int) -> Iterator["RpmHeader"]:
    """Yield the header of each package of rpm below an open root directory."""
    for content in _rpm_databases(root):
        for (header,) in _rows(content, "SELECT blob FROM Packages LIMIT ?", (MAX_FILES,)):
            with suppress(ValueError, TypeError, struct.error):
                yield RpmHeader(header)


def _rows(content: bytes, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
    import sqlite3  # noqa: PLC0415 - only hosts and images with rpm need it

    try:
        with closing_object(sqlite3.connect(":memory:")) as database:
            database.deserialize(content)
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_HEADER)
            # A table may be a view, whose query takes as long as its author likes.
            database.set_progress_handler(lambda: True, _MAX_STEPS)
            return database.execute(query, values).fetchall()
    except sqlite3.Error:
        return []


class RpmHeader:
    """A package's header in rpm's database. Source: rpm, docs/manual/hregions.md.

    Raises:
        ValueError, IndexError, struct.error: It is none.
    """

    def __init__(self, header: bytes) -> None:
        entries, size = struct.unpack_from(">II", header)
        if entries > _MAX_ENTRIES:
            raise ValueError("too many entries")
        data = 8 + _ENTRY.size * entries
        self._content = header[: data + size]
        self._tags = {tag: (at + data, count) for tag, _, at, count in _ENTRY.iter_unpack(header[8:data])}

    def number(self, tag: int, at: int = 0) -> int | None:
        """Return a number of a tag."""
        if tag not in self._tags or not 0 <= at < self._tags[tag][1]:
            return None
        return int.from_bytes(self._content[self._tags[tag][0] + 4 * at :][:4], "big")

    def text(self, tag: int, at: int = 0) -> str:
        """Return a text of a tag; empty if there is none."""
        if tag not in self._tags or not 0 <= at < self._tags[tag][1]:
            return ""
        return self._content[self._tags[tag][0] :].split(b"\0", at + 1)[at].decode("utf-8", "surrogateescape")

    @property
    def name(self) -> str:
        """The package's name."""
        return self.text(_NAME)

    def paths(self, limit: int) -> Iterator[str]:
        """Yield the paths of its files, at most so many."""
        directories, names = (self._texts(tag, limit) for tag in (_DIRECTORIES, _BASE_NAMES))
        for at, name in enumerate(names):
            directory = self.number(_DIRECTORY_INDEXES, at)
            if directory is not None and directory < len(directories):
                yield f"{directories[directory]}{name}"

    def _texts(self, tag: int, limit: int) -> list[str]:
        at, count = self._tags.get(tag, (0, 0))
        parts = self._content[at:].split(b"\0", min(count, limit))[: min(count, limit)]
        return [part.decode("utf-8", "surrogateescape") for part in parts]

    @property
    def version(self) -> str:
        """The version as rpm compares it: epoch, version and release."""
        epoch = self.number(_EPOCH)
        return f"{'' if epoch is None else f'{epoch}:'}{self.text(_VERSION)}-{self.text(_RELEASE)}"


def _listed(header: RpmHeader, index: int, folder: str) -> ListedFile | None:
    """Return the entry of a file in a package's header, if it is in a folder."""
    directory = header.number(_DIRECTORY_INDEXES, index)
    if directory is None or header.text(_DIRECTORIES, directory) != folder:
        return None
    algorithm = _ALGORITHMS.get(header.number(_ALGORITHM) or 1, "")
    return ListedFile(header.name, header.version, algorithm, header.text(_DIGESTS, index), "rpm")
