"""The place up to which a log file was read, on disk.

A file is identified by its first bytes and its inode: an inode is given to another file soon after one was deleted,
and a copy that is made before a file is truncated has the same first bytes.
"""

import json
import os
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

_HEAD_BYTES = 1024
_MODE = 0o600


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
        """Create a view; nothing is read or written.

        Args:
            folder: where the place is stored.
            followed: the log file.
        """
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
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
        try:
            os.write(descriptor, json.dumps({"file": self._followed, "place": asdict(place)}).encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fresh.replace(self.path)
