"""Files of `lanner run` across restarts: values of first_seen, people's sessions, and requests to reset state.

The file is a log: what changed is appended, and the last record of a value counts. It is rewritten when most of
its records are outdated, so that a value costs two records in the long run and not one with each save.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from foundation.files import open_private, write_atomically
from processor.correlation.groups import BadState
from processor.correlation.state import WindowState, seen_records
from processor.matching.pre_match import PreMatch, StateCommand, command_about
from processor.sessions.records import encode_session
from processor.sessions.sessions import Sessions


class SessionsFile:
    """The file beside the state file."""

    def __init__(self, path: Path, sessions: Sessions) -> None:
        """Begin without reading. path: of the state file; sessions: what is stored."""
        self._path = path.with_name(f"{path.name}.sessions")
        self._sessions = sessions
        self._saved = 0

    def load(self) -> None:
        """Add the records of the file; records that can't be read are counted. Raises OSError."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            self._sessions.put(b"", line)
        self._saved = self._sessions.changes

    def save(self) -> None:
        """Write the file atomically if something has changed. Raises OSError."""
        if (changes := self._sessions.changes) == self._saved:
            return
        write_atomically(self._path, (encode_session(record)[1] + b"\n" for record in self._sessions.records()))
        self._saved = changes


_MARK = b"LANNERV\x01"
_HEAD = struct.Struct("<II")
_FEW = 1_000
"""Outdated records that are not worth rewriting the file."""


def reset_file(path: Path) -> Path:
    """Return the file with requests to forget, which operators write and `lanner run` takes. path: of the state."""
    return path.with_name(f"{path.name}.reset")


def take_resets(path: Path) -> list[PreMatch]:
    """Take the requests to forget, as commands; invalid ones are dropped. path: of the state. Raises OSError."""
    file = reset_file(path)
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    file.unlink()
    found = []
    for line in lines:
        try:
            row = json.loads(line)
            group = row["group"]
            command = StateCommand("reset", str(row["owner"]), row["value"], is_everywhere=group is None)
            found.append(command_about(command, tuple(group or ()), "", int(row["time"])))
        except (ValueError, KeyError, TypeError):
            continue
    return found


class ValuesFile:
    """The file beside the state file."""

    def __init__(self, path: Path) -> None:
        """Begin without reading. path: of the state file."""
        self._path = path.with_name(f"{path.name}.values")
        self._records: int | None = None
        """Records in the file; None if it has to be rewritten."""

    def load(self, state: WindowState) -> None:
        """Load the records of the file.

        A record that was cut off ends it.

        Raises:
            OSError: the file cannot be read.
            BadState: it is not such a file.
        """
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        if data[: len(_MARK)] != _MARK:
            raise BadState("not known values, or of another version")
        records, end = 0, len(_MARK)
        for blob in _blobs(data):
            state.load(blob)
            records, end = records + 1, end + _HEAD.size + len(blob)
        self._records = records if end == len(data) else None

    def save(self, state: WindowState) -> None:
        """Write what has changed. Raises OSError; then the next call writes everything."""
        records, self._records = self._records, None
        live = len(state.sightings) + state.sightings.groups
        if records is None and not live:
            state.sightings.take_changes()
            self._path.unlink(missing_ok=True)
            return
        if records is not None and records <= 2 * live + _FEW:
            blobs = seen_records(state, changed=True)
            if blobs:
                with os.fdopen(open_private(self._path, os.O_WRONLY | os.O_APPEND), "ab") as file:
                    file.write(_framed(blobs))
            self._records = records + len(blobs)
            return
        state.sightings.take_changes()
        blobs = seen_records(state, changed=False)
        write_atomically(self._path, [_MARK, _framed(blobs)])
        self._records = len(blobs)


def _framed(blobs: Sequence[bytes]) -> bytes:
    return b"".join(_HEAD.pack(len(blob), zlib.crc32(blob)) + blob for blob in blobs)


def _blobs(data: bytes) -> Iterator[bytes]:
    offset = len(_MARK)
    while offset + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, offset)
        offset += _HEAD.size
        blob = data[offset : offset + length]
        offset += length
        if len(blob) < length or zlib.crc32(blob) != checksum:
            return
        yield blob
