"""Finds the files that a log file was rotated to: renamed, or copied before it was truncated."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lanner.intake.file.place import FilePlace

_COMPRESSED = (".gz", ".zst", ".bz2", ".xz")


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that is being read; it stays readable if it is renamed or deleted."""

    descriptor: int
    inode: int
    changed: int
    """When it was last written, as far as was known when it was opened, ns since the epoch."""

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)


def open_file(path: Path) -> OpenFile | None:
    """Open a regular file; return None if there is none. Raises OSError if it can't be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise OSError(0, "not a regular file")
    return OpenFile(descriptor, facts.st_ino, facts.st_mtime_ns)


def locate(path: Path, place: FilePlace) -> OpenFile | None:
    """Open the file of a place: the log file itself, or one that it was rotated to. Raises OSError."""
    found = None
    for each in _opened((path, *_rotated(path))):
        if not place.is_of(each.descriptor) or (found is not None and found.inode == place.inode):
            each.close()
            continue
        if found is not None:
            found.close()
        found = each
    return found


def successor(path: Path, read: OpenFile) -> OpenFile | None:
    """Open the file that was written after another one.

    Args:
        path: the log file.
        read: the file that was read to its end.

    Returns:
        The oldest of the files that were changed later; the log file is the newest. None if there is none yet.

    Raises:
        OSError: a file can't be read.
    """
    changed = os.fstat(read.descriptor).st_mtime_ns
    later = []
    for each in _rotated(path):
        facts = _facts(each)
        if facts is not None and facts.st_mtime_ns >= changed and facts.st_ino != read.inode:
            later.append((facts.st_mtime_ns, each))
    for _, each in sorted(later):
        if (found := open_file(each)) is not None:
            return found
    return open_file(path)


def is_rotated(path: Path, read: OpenFile) -> bool:
    """Return whether the log file is another file by now, or none."""
    facts = _facts(path)
    return facts is None or facts.st_ino != read.inode


def _rotated(path: Path) -> Iterator[Path]:
    """Yield the files beside a log file whose names begin as its does: audit.log.1, audit-2026-11-25T10-00.log."""
    stem = path.name.partition(".")[0]
    for each in path.parent.iterdir():
        if each.name.startswith(stem) and each.name != path.name and each.suffix not in _COMPRESSED:
            yield each


def _opened(paths: tuple[Path, ...]) -> Iterator[OpenFile]:
    for each in paths:
        try:
            found = open_file(each)
        except OSError:
            continue
        if found is not None:
            yield found


def _facts(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
