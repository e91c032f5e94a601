"""Reuses the work done for an earlier event of the batch with an equal or similar record.

A flood repeats the same record, and a search opens thousands of files in the same way. Either costs a fraction of
decoding and describing each event separately.
"""

import stat
import struct
from typing import Protocol

from collector.events.batch_builder import BatchBuilder, Event
from collector.events.paths import absolute
from collector.events.system_calls import BY_EVENT
from collector.processes.process import TrackedProcess
from collector.records.decode import text
from collector.records.layout import HEAD, SYSCALL
from collector.records.types import Syscall
from schemas.columns import EVENT_COLUMNS

_TIME = struct.Struct("<Q")
"""Every record begins with its time."""
_OPEN = BY_EVENT["openat"]
_EVENT_AT = SYSCALL.span("event")
_EVENT = struct.pack("<H", _OPEN.number)
_FILE = SYSCALL.reader("inode", "real_path", "path1", "directory1")
_TEXTS_AT = SYSCALL.end
# All of an openat's record but time, path address, inode, and lengths and texts of its paths.
_HEAD_TO_PATH = slice(HEAD.span("time").stop, SYSCALL.span("argument1").start)
_PATH_TO_INODE, _INODE_TO_LENGTHS = SYSCALL.between("argument1", "inode"), SYSCALL.between("inode", "real_path")
_PATH2_LENGTH, _OTHER_LENGTHS = SYSCALL.span("path2"), slice(SYSCALL.span("directory1").stop, SYSCALL.end)
_ROW = tuple(EVENT_COLUMNS)[1:]
_TYPE, _INODE, _NAME = map(_ROW.index, ("fd_type", "fd_ino", "fd_name"))
_REST = _NAME + len(("fd_name", "fd_name_raw", "fd_realpath"))
_KINDS = [argument.kind for argument in _OPEN.arguments]
_LABEL_ARGUMENT, _NAME_ARGUMENT, _INODE_ARGUMENT = map(_KINDS.index, ("rfd", "path1", "ino"))
_REGULAR = "file"
_U32, _INT64_MAX = 0xFFFFFFFF, (1 << 63) - 1

_Known = tuple[Event, TrackedProcess, int]
"""An event, its process, and the process's version at that event."""


class _Changing(Protocol):
    """The part of the process table used here."""

    changes: int


class _Versioned(Protocol):
    """The part of the container look-up used here."""

    version: int


class RepeatCache:
    """The events of the batch under construction that may be reused, by their records."""

    def __init__(self, table: _Changing, containers: _Versioned) -> None:
        self._table = table
        self._containers = containers
        self._stamp = -1
        self._same: dict[bytes, _Known] = {}
        """By all bytes of their records but the time."""
        self._alike: dict[bytes, _Known] = {}
        """Opens, by all bytes but those about the file."""

    def clear(self) -> None:
        """Begin the next batch."""
        self._same = {}
        self._alike = {}

    def add(self, builder: BatchBuilder, record: bytes, boot_to_epoch: int) -> bool:
        """Add an event by reusing an earlier one; return False if none can be reused.

        Args:
            builder: the batch.
            record: as sent by the kernel side.
            boot_to_epoch: offset to add to its time, nanoseconds.
        """
        known = self._same.get(record[_TIME.size :])
        is_same = known is not None
        if known is None and record[_EVENT_AT] == _EVENT:
            known = self._alike.get(_but_file(record))
        if known is None:
            return False
        event, entry, version = known
        # The conditions under which the process's row stays valid too: see ProcessRows.
        if entry.version != version or self._table.changes + self._containers.version != self._stamp:
            return False
        time = _TIME.unpack_from(record)[0] + boot_to_epoch
        if is_same:
            builder.repeat(time, event)
            return True
        added = _add_alike(builder, event, record, time)
        if added is None:
            return False
        self._same[record[_TIME.size :]] = (added, entry, version)
        return True

    def remember(
        self, builder: BatchBuilder, record: bytes, call: Syscall, event: Event, entry: TrackedProcess
    ) -> None:
        """Remember an event just added, for reuse.

        Args:
            builder: the batch.
            record: as sent by the kernel side.
            call: the same record, decoded.
            event: its index in the batch.
            entry: its process.
        """
        stamp = self._table.changes + self._containers.version
        if stamp != self._stamp:
            self._stamp = stamp
            self.clear()
        known = (event, entry, entry.version)
        self._same[record[_TIME.size :]] = known
        # A regular file may still be another kind of descriptor, depending on its file system.
        if call.event == _OPEN.number and _opens_a_file(call) and builder.row(event)[_TYPE] == builder.intern(_REGULAR):
            self._alike[_but_file(record)] = known


def _but_file(record: bytes) -> bytes:
    """Return an openat's record without time, path address, inode, and lengths and text of its paths."""
    return (
        record[_HEAD_TO_PATH]
        + record[_PATH_TO_INODE]
        + record[_INODE_TO_LENGTHS]
        + record[_PATH2_LENGTH]
        + record[_OTHER_LENGTHS]
    )


def _opens_a_file(call: Syscall) -> bool:
    """Return whether _add_alike writes everything that depends on the file."""
    return (
        call.file is not None
        and stat.S_ISREG(call.file.mode)
        and not call.file.is_pseudo
        and call.result >= 0
        # If the directory's number equals the new descriptor, the file is named there as well.
        and call.arguments[0] & _U32 != call.fd
        and call.path2 is None
        and call.directory2 is None
        and not call.blob1
        and not call.blob2
    )


def _add_alike(builder: BatchBuilder, event: Event, record: bytes, time: int) -> Event | None:
    """Add an open that differs from an event in its file only; None if the file has no name to show."""
    inode, real_length, path_length, directory_length = _FILE.unpack_from(record)
    path_at = _TEXTS_AT + real_length
    directory_at = path_at + path_length
    end = directory_at + directory_length
    if not real_length or not path_length or end > len(record):
        return None
    real, given = text(record[_TEXTS_AT:path_at]), text(record[path_at:directory_at])
    path = absolute(text(record[directory_at:end]) if directory_length else None, given)
    if path is None:
        return None
    intern = builder.intern
    name = intern(path)
    like = builder.row(event)
    row = (*like[:_INODE], inode, *like[_INODE + 1 : _NAME], name, intern(given), intern(real), *like[_REST:])
    texts, numbers = builder.arguments(event)
    texts[_LABEL_ARGUMENT], texts[_NAME_ARGUMENT] = intern(f"<f>{real}"), name
    texts[_INODE_ARGUMENT] = intern(str(inode))
    numbers[_INODE_ARGUMENT] = inode if inode <= _INT64_MAX else inode - (1 << 64)
    return builder.add_like(time, event, row, texts, numbers)
