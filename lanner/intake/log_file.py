"""Reads the lines of a log file as they are written, over its rotations.

What was read counts as read once `commit` has stored the place after it, so a crash repeats lines and loses none.
"""

import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

from foundation.files import write_atomically
from foundation.text import OnNote
from processor.fields.json.parsing import MAX_EVENT_BYTES, ShortenedText

_HEAD_BYTES = 1024


@dataclass(frozen=True, slots=True)
class FilePlace:
    """A position in a file."""

    inode: int
    offset: int
    """Everything before it was read and stored."""
    head_bytes: int
    """How many of the first bytes identify the file: all that it had, up to a limit. Lines are only appended."""
    head: str
    """Their hash."""

    def is_of(self, descriptor: int) -> bool:
        """Return whether an open file is the one of this place, or a copy of it. Raises OSError."""
        facts = os.fstat(descriptor)
        if self.head_bytes == 0:
            return facts.st_ino == self.inode
        return facts.st_size >= self.offset and _head(descriptor, self.head_bytes) == self.head


def place_of(descriptor: int, offset: int) -> FilePlace:
    """Return the place at an offset of an open file. Raises OSError."""
    facts = os.fstat(descriptor)
    size = min(_HEAD_BYTES, facts.st_size)
    return FilePlace(facts.st_ino, offset, size, _head(descriptor, size))


def _head(descriptor: int, size: int) -> str:
    return blake2b(os.pread(descriptor, size, 0), digest_size=16).hexdigest()


class PlaceFile:
    """Stores the place of one log file."""

    def __init__(self, folder: Path, followed: Path) -> None:
        """Create a view; nothing is read or written. folder: where the place is stored; followed: the log file."""
        self._followed = str(followed.absolute())
        self.path = folder / f"{blake2b(self._followed.encode(), digest_size=8).hexdigest()}.json"

    def load(self) -> FilePlace | None:
        """Return the place; None if there is none. Raises OSError, and ValueError for a file of another content."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        stored = json.loads(text)
        try:
            place = FilePlace(**stored["place"])
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a place: {error}") from None
        numbers = (place.inode, place.offset, place.head_bytes)
        if not all(isinstance(number, int) and number >= 0 for number in numbers):
            raise ValueError("not a place: a number is out of range")
        return place

    def store(self, place: FilePlace) -> None:
        """Replace the place, completely or not at all. Raises OSError."""
        stored = json.dumps({"file": self._followed, "place": asdict(place)})
        write_atomically(self.path, [stored.encode()], is_synced=True)


_COMPRESSED = (".gz", ".zst", ".bz2", ".xz")


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that is being read; it stays readable if it is renamed or deleted."""

    descriptor: int
    inode: int

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
    return OpenFile(descriptor, facts.st_ino)


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


_CHUNK_BYTES = 1 << 20
GRACE_SECONDS = 2.0
"""How long a file that was renamed is still read: its writer may not have opened the new one yet."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines without their ends, and the place after them."""

    lines: tuple[bytes, ...]
    place: FilePlace


class LogFollower:
    """Reads one log file."""

    def __init__(
        self, path: Path, places: PlaceFile, on_note: OnNote, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin; nothing is opened. path: the log file; it need not exist yet; places: stores how far it was read."""
        self._path = path
        self._places = places
        self._on_note = on_note
        self._clock = clock
        self._file: OpenFile | None = None
        self._offset = 0
        """After the last complete line that was returned."""
        self._pending = b""
        """The bytes read behind the offset: the beginning of a line."""
        self._short: ShortenedText | None = None
        """The beginning of a line that is too large for an event, read behind the offset instead."""
        self._short_bytes = 0
        """How much that was."""
        self._place: FilePlace | None = None
        self._rotated_at: float | None = None
        self._is_started = False
        self._has_place = False
        """True if a place is stored."""

    def next(self) -> Lines | None:
        """Return further lines; None if there are none now. Raises OSError."""
        if not self._is_started:
            self._start()
        file = self._file or self._open_path()
        if file is None:
            return None
        if self._place is not None and not self._place.is_of(file.descriptor):
            # It was truncated.
            file = self._resume()
            if file is None:
                return None
        if (found := self._read(file)) is not None:
            self._rotated_at = None
            return found
        return self._at_end(file)

    def commit(self, lines: Lines) -> None:
        """Store that lines were processed. Raises OSError."""
        self._places.store(lines.place)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _start(self) -> None:
        try:
            self._place = self._places.load()
        except ValueError as error:
            self._on_note(f"{self._places.path}: {error}: {self._path} is read from its beginning.", "warning")
        self._is_started = True
        if self._place is not None:
            self._has_place = True
            self._resume()

    def _resume(self) -> OpenFile | None:
        """Continue behind the last place, in whatever file it is now."""
        place = self._place
        self.close()
        found = None if place is None else locate(self._path, place)
        if found is not None and place is not None:
            self._use(found, place.offset)
            return found
        if place is not None and place.offset:
            text = f"{self._path}: the file that was read is gone; what was not read of it is lost"
            self._on_note(f"{text}. Reading continues at the beginning of the present one.", "warning")
        return self._open_path()

    def _open_path(self) -> OpenFile | None:
        found = open_file(self._path)
        if found is not None:
            self._use(found, 0)
            if not self._has_place and self._place is not None:
                # The file may be rotated before its first lines are stored.
                self._places.store(self._place)
                self._has_place = True
        return found

    def _use(self, file: OpenFile, offset: int) -> None:
        self.close()
        self._file, self._offset, self._pending, self._short, self._rotated_at = file, offset, b"", None, None
        self._place = place_of(file.descriptor, offset)

    def _read(self, file: OpenFile) -> Lines | None:
        """Return the complete lines of the next chunk; None if the end was reached before one was complete."""
        while True:
            at = self._read_end()
            chunk = os.pread(file.descriptor, _CHUNK_BYTES, at)
            if not chunk:
                return None
            *complete, rest = (self._pending + chunk).split(b"\n")
            if not complete:
                self._hold(rest)
                continue
            if self._short is not None:
                self._short.add(complete[0])
                complete[0] = self._short.finish()
            return self._lines(file, complete, at + len(chunk) - len(rest), rest)

    def _hold(self, rest: bytes) -> None:
        """Store the beginning of a line. rest: all that was read of it; if that is shortened, what follows."""
        self._pending = rest
        if self._short is None and len(rest) > MAX_EVENT_BYTES:
            self._short, self._short_bytes = ShortenedText(), 0
        if self._short is not None:
            self._short.add(rest)
            self._short_bytes += len(rest)
            self._pending = b""

    def _read_end(self) -> int:
        """Return the offset up to which the file was read."""
        return self._offset + (len(self._pending) if self._short is None else self._short_bytes)

    def _lines(self, file: OpenFile, complete: list[bytes], offset: int, rest: bytes) -> Lines:
        self._offset, self._pending, self._short = offset, rest, None
        self._place = place_of(file.descriptor, offset)
        return Lines(tuple(line for line in complete if line.strip()), self._place)

    def _at_end(self, file: OpenFile) -> Lines | None:
        """Go on to the next file if this one was rotated and is complete."""
        if not is_rotated(self._path, file):
            self._rotated_at = None
            return None
        now = self._clock()
        if self._rotated_at is None:
            self._rotated_at = now
        if now - self._rotated_at < GRACE_SECONDS or (following := successor(self._path, file)) is None:
            return None
        if last := self._pending.strip() if self._short is None else self._short.finish():
            # Nobody will complete the last line.
            following.close()
            return self._lines(file, [last], self._read_end(), b"")
        self._use(following, 0)
        return self.next()
