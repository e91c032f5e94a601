"""Reads the lines of a log file as they are written, over its rotations.

What was read counts as read once `commit` has stored the place after it, so a crash repeats lines and loses none.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lanner.intake.file.place import FilePlace, PlaceFile, place_of
from lanner.intake.file.rotation import OpenFile, is_rotated, locate, open_file, successor
from processor.audit.shortening import MAX_EVENT_BYTES, ShortenedText
from schemas.text.notes import OnNote

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
        """Begin; nothing is opened.

        Args:
            path: the log file; it need not exist yet.
            places: stores how far it was read.
            on_note: receives messages for an operator.
            clock: monotonic, s.
        """
        self._path = path
        self._places = places
        self._on_note = on_note
        self._clock = clock
        self._file: OpenFile | None = None
        self._offset = 0
        """After the last complete line that was returned."""
        self._pending = b""
        """What was read behind the offset: the beginning of a line."""
        self._short: ShortenedText | None = None
        """What was read behind the offset instead, if it is too large for an event."""
        self._short_bytes = 0
        """How much that was."""
        self._place: FilePlace | None = None
        self._rotated_at: float | None = None
        self._is_started = False
        self._has_place = False
        """Whether a place is stored."""

    def next(self) -> Lines | None:
        """Return further lines; None if there are none now. Raises OSError."""
        if not self._is_started:
            self._start()
        file = self._file or self._open_path()
        if file is None:
            return None
        if self._was_truncated(file):
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

    def _was_truncated(self, file: OpenFile) -> bool:
        return self._place is not None and not self._place.is_of(file.descriptor)

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
        """Hold the beginning of a line. rest: all that was read of it; if that is shortened, what follows."""
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
