"""Files of events that are JSON, one document a line, such as an API server's log backend writes."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lanner.errors import BadInput
from processor.fields.json.documents import KUBERNETES, Document, JsonSource, read_events
from processor.fields.json.parsing import MAX_EVENT_BYTES, BadJsonEvent, ShortenedText

_STARTS = (b"{", b"[")
_HEAD_BYTES = 64


def is_json_file(path: Path) -> bool:
    """Return whether a file is JSON by its first bytes; False if it can't be read, or not twice, as a pipe."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES).lstrip().startswith(_STARTS)
    except OSError:
        return False


class JsonFile:
    """One file. A line that can't be read is counted, and does not stop those behind it."""

    def __init__(self, path: Path, source: JsonSource = KUBERNETES) -> None:
        """Take a file with events of a source; those without a time get that of its last change."""
        self._path = path
        self._source = source
        self.unreadable = 0
        """Lines that could not be read, or with an event that could not be read."""
        self.first_unreadable = ""
        """Number of the first of them, and the reason."""

    def events(self) -> Iterator[Document]:
        """Yield the events in order; evt.num counts from 0. Raises BadInput if the file can't be read."""
        number = 0
        try:
            with self._path.open("rb") as file:
                changed = os.fstat(file.fileno()).st_mtime_ns
                for position, line in enumerate(_lines(file), 1):
                    if not line.strip():
                        continue
                    try:
                        for event in read_events(line, number, None, self._source, changed):
                            yield event
                            number += 1
                    except BadJsonEvent as error:
                        self.unreadable += 1
                        self.first_unreadable = self.first_unreadable or f"line {position}: {error}"
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            raise BadInput(f"{self._path}: {error.strerror}.") from None


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines; one that is too large is shortened."""
    while line := file.readline(MAX_EVENT_BYTES):
        if len(line) == MAX_EVENT_BYTES and not line.endswith(b"\n"):
            text = ShortenedText()
            while line:
                text.add(line)
                line = b"" if line.endswith(b"\n") else file.readline(MAX_EVENT_BYTES)
            line = text.finish()
        yield line
