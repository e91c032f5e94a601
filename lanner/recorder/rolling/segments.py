"""A folder of recordings of limited size: messages are appended to the newest file, the oldest file is deleted."""

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.encoding.recording import RecordingWriter, count_messages

_SEGMENTS = 16
"""The limits are enforced by deleting the oldest file, a sixteenth of the total."""
_MIN_SEGMENT = 64 * 1024
_LEVEL = 1
"""Level 6 takes six times as long for a batch of 500 events, and saves an eighth."""


@dataclass(slots=True)
class _File:
    path: Path
    size: int = 0
    messages: int = 0


class Segments:
    """The files of a folder. Each start begins a new one, because another release may have written the last."""

    def __init__(self, folder: Path, schema: dict[str, Any], max_bytes: int, max_messages: int | None = None) -> None:
        """Find the files of earlier runs, and delete what is above the limits.

        Args:
            folder: created with mode 0700 if it doesn't exist.
            schema: of the messages.
            max_bytes: maximum total size, compressed.
            max_messages: maximum number of messages; None for any number.

        Raises:
            OSError: the folder can't be used.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._schema = schema
        self._max_bytes = max_bytes
        self._max_messages = max_messages
        self._segment_bytes = max(max_bytes // _SEGMENTS, _MIN_SEGMENT)
        self._segment_messages = None if max_messages is None else max(max_messages // _SEGMENTS, 1)
        self._writer: RecordingWriter | None = None
        self._files = deque(self._found(path) for path in sorted(folder.glob("*.avro")))
        self._next = 1 + max((int(file.path.stem) for file in self._files if file.path.stem.isdigit()), default=0)
        self._make_room()

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.size for file in self._files)

    def append(self, encoded: bytes) -> None:
        """Append an encoded message. Raises OSError; a later call then begins a new file."""
        if self._writer is None:
            path = self._folder / f"{self._next:012}.avro"
            self._next += 1
            self._writer = RecordingWriter(path, self._schema, level=_LEVEL)
            self._files.append(_File(path))
        newest = self._files[-1]
        try:
            self._writer.write(encoded)
        except OSError:
            self.close()
            if not newest.messages:
                self._files.pop()
                newest.path.unlink(missing_ok=True)
            raise
        newest.size = newest.path.stat().st_size
        newest.messages += 1
        if newest.size >= self._segment_bytes or newest.messages == self._segment_messages:
            self.close()
        self._make_room()

    def close(self) -> None:
        """Close the current file."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.close()
        except OSError:
            # What was written so far can be read.
            return

    def _make_room(self) -> None:
        while self._is_above() and len(self._files) > (self._writer is not None):
            self._files.popleft().path.unlink(missing_ok=True)

    def _is_above(self) -> bool:
        if self.size > self._max_bytes:
            return True
        return self._max_messages is not None and sum(file.messages for file in self._files) > self._max_messages

    def _found(self, path: Path) -> _File:
        messages = 0 if self._max_messages is None else count_messages(path)
        return _File(path, path.stat().st_size, messages)
