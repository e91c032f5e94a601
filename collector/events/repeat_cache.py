"""Reuses the work done for an earlier event of the batch with an equal or similar record.

A flood repeats the same record, a search opens thousands of files in the same way, and a server's connections differ in
their ports. Each costs a fraction of decoding and describing the events separately.
"""

import stat
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from collector.events.batch_builder import BatchBuilder, Event, EventParts, FileArguments, Intern, OpenedFile
from collector.events.build import NAMED_LIKE_CODE
from collector.events.network_names import Account, NamesOf, is_piece
from collector.events.system_calls import BY_EVENT, CALLS
from collector.events.texts import absolute, socket_address
from collector.processes.process import TrackedProcess
from collector.processes.table import ProcessTable
from collector.records.decode import HEAD, SOCKET, SYSCALL, text
from collector.records.types import Syscall
from schemas.batch import EVENT_COLUMNS
from schemas.catalog.flags import TYPE_CHARACTERS
from schemas.catalog.system_calls import ACCEPTS

_TIME, _CPU, _RESULT, _FD = HEAD.span("time"), HEAD.span("cpu"), SYSCALL.span("result"), SYSCALL.span("fd")
_LOCAL_PORT, _REMOTE_PORT = SOCKET.span("local_port"), SOCKET.span("remote_port")
_VARYING = struct.Struct(
    f"<{_CPU.start}xI{_RESULT.start - _CPU.stop}xq{_FD.start - _RESULT.stop}xi{_LOCAL_PORT.start - _FD.stop}x2H"
)
"""CPU, result, descriptor, both ports."""
_TO_CPU = HEAD.between("time", "cpu")
_CPU_TO_INODE, _RESULT_TO_INODE = slice(_CPU.stop, SYSCALL.span("inode").start), SYSCALL.between("result", "inode")
_INODE_TO_PORTS, _INODE_TO_FD = slice(SYSCALL.span("inode").stop, _LOCAL_PORT.start), SYSCALL.between("inode", "fd")
_FD_TO_PORTS, _AFTER_PORTS = slice(_FD.stop, _LOCAL_PORT.start), slice(_REMOTE_PORT.stop, None)
_EVENT_AT = SYSCALL.span("event")
_CONNECT = BY_EVENT["connect"].number.to_bytes(2, "little")
_ACCEPTS = frozenset(BY_EVENT[name].number.to_bytes(2, "little") for name in ACCEPTS)
_CONNECTIONS = _ACCEPTS | {_CONNECT}
_V4, _V6 = (f"<{TYPE_CHARACTERS[each]}>" for each in ("ipv4", "ipv6"))
_COLUMNS = tuple(EVENT_COLUMNS)[1:]
_CPU_COLUMN, _RESULT_COLUMN, _FD_COLUMN, _LOCAL_COLUMN, _REMOTE_COLUMN, _NAME_COLUMN = map(
    _COLUMNS.index, ("cpu", "res", "fd_num", "local_port", "remote_port", "fd_name")
)


@dataclass(frozen=True, slots=True)
class SimilarConnections:
    """The parts of their events that similar connections share."""

    parts: EventParts
    is_accepted: bool
    local: str
    """The local address, with the colon before the port."""
    remote: str
    remote_port: int
    """The one passed to connect; accepted connections differ in theirs."""
    type: str
    """The beginning of the descriptor's label: ``<4>``."""
    label_at: int
    """Position of the argument that labels the descriptor."""
    name_at: int
    """Position of the argument that names both ends."""


def similarity(record: bytes) -> bytes | None:
    """Return what the records of similar connections share; None if the record is no connection."""
    event, rest = record[_EVENT_AT], record[_AFTER_PORTS]
    # A socket's inode isn't reported.
    if event == _CONNECT:
        return record[_TO_CPU] + record[_CPU_TO_INODE] + record[_INODE_TO_PORTS] + rest
    if event in _ACCEPTS:
        fixed = record[_TO_CPU] + record[_RESULT_TO_INODE]
        return fixed + record[_INODE_TO_FD] + record[_FD_TO_PORTS] + rest
    return None


def connection_of(record: bytes, call: Syscall, parts: EventParts, intern: Intern) -> SimilarConnections | None:
    """Return what similar connections share with one, of which the record and its event are given; None if too little.

    intern returns a text's index in the batch.
    """
    sock, address = call.socket, socket_address(call.blob2)
    is_accepted = record[_EVENT_AT] in _ACCEPTS
    if sock is not None and is_accepted:
        address = sock.remote_ip, sock.remote_port
    if sock is None or address is None:
        return None
    kinds = [argument.kind for argument in CALLS[call.event].arguments]
    like = SimilarConnections(
        parts,
        is_accepted,
        f"{sock.local_ip}:",
        f"{address[0]}:",
        address[1],
        _V6 if ":" in address[0] else _V4,
        kinds.index("rfd" if is_accepted else "fd"),
        kinds.index("tuple"),
    )
    # What doesn't yield its own event yields no other's.
    return like if similar_parts(like, record, intern) == parts else None


def similar_parts(like: SimilarConnections, record: bytes, intern: Intern) -> EventParts | None:
    """Return the event of a connection that is similar to an earlier one; None if it differs in more.

    `similarity` returns the same for both records; intern returns a text's index in the batch.
    """
    cpu, result, descriptor, local_port, remote_port = _VARYING.unpack_from(record)
    texts, numbers = like.parts.texts.copy(), like.parts.numbers
    local = f"{like.local}{local_port}"
    if like.is_accepted:
        name = f"{like.remote}{remote_port}->{local}"
        numbers = numbers.copy()
        numbers[like.label_at] = result
    else:
        remote_port = like.remote_port
        name = f"{local}->{like.remote}{remote_port}"
    if not local_port or not remote_port or (like.is_accepted and not 0 <= result == descriptor):
        return None
    row = list(like.parts.row)
    texts[like.name_at] = row[_NAME_COLUMN] = intern(name)
    texts[like.label_at] = intern(f"{like.type}{name}")
    row[_CPU_COLUMN], row[_RESULT_COLUMN], row[_FD_COLUMN] = cpu, result, descriptor
    row[_LOCAL_COLUMN], row[_REMOTE_COLUMN] = local_port, remote_port
    return EventParts(tuple(row), like.parts.names, texts, numbers)


_U64 = struct.Struct("<Q")
"""The time, with which every record begins."""
_OPEN = BY_EVENT["openat"]
_EVENT = struct.pack("<H", _OPEN.number)
_INODE = SYSCALL.reader("inode")
_FILE = SYSCALL.reader("inode", "real_path", "path1", "directory1")
_TEXTS_AT = SYSCALL.end
# All of an openat's record but time, inode, and lengths and texts of its paths. The kernel side leaves out the register
# with the path's address.
_HEAD_TO_INODE, _INODE_TO_LENGTHS = (
    slice(HEAD.span("time").stop, SYSCALL.span("inode").start),
    SYSCALL.between("inode", "real_path"),
)
_PATH2_LENGTH, _OTHER_LENGTHS = SYSCALL.span("path2"), slice(SYSCALL.span("directory1").stop, SYSCALL.end)
_TYPE_COLUMN = _COLUMNS.index("fd_type")
_AFTER_NAMES = _NAME_COLUMN + len(("fd_name", "fd_name_raw"))
_KINDS = [argument.kind for argument in _OPEN.arguments]
_FILE_ARGUMENTS = FileArguments(*map(_KINDS.index, ("rfd", "path1", "ino")))
_REGULAR = "file"
_U32 = 0xFFFFFFFF

_FIXED_BYTES = 300
"""The bytes that an open may add to a batch, beside each of its paths twice."""

OnWrite = Callable[[int, int], None]
"""Notes who opened a file for writing, given its inode and the time, epoch ns."""

_Known = tuple[Event, TrackedProcess, int, OnWrite | None]
"""An event, its process, and the process's version at that event; and what else an open for writing does."""


class _Versioned(Protocol):
    """The part of the container look-up used here."""

    version: int


class RepeatCache:
    """The events of the batch under construction that may be reused, by their records."""

    def __init__(self, table: ProcessTable, containers: _Versioned) -> None:
        self._table = table
        self._containers = containers
        self._stamp = -1
        self._same: dict[bytes, _Known] = {}
        """By all bytes of their records but the time."""
        self.is_code_looked_up = False
        """Whether files of code are looked up: then the open of one is like that of no other file."""
        self._alike: dict[bytes, tuple[OpenedFile | EventParts, TrackedProcess, int, OnWrite | None]] = {}
        """Opens, by all bytes but those about the file; those that failed as EventParts."""
        self._connections: dict[bytes, tuple[SimilarConnections, TrackedProcess, int]] = {}
        """By all that similar ones share."""
        self._named: dict[str, dict[Account, list[bytes]]] = {}
        """Keys of the entries whose events have names of an address, by that and the account."""

    def clear(self) -> None:
        """Begin the next batch."""
        self._same = {}
        self._alike = {}
        self._connections = {}
        self._named = {}

    def forget(self, account: Account | None, address: str) -> None:
        """Forget the events that have names of an address, for an account or, with None, for all."""
        accounts = self._named.get(address, {})
        for each in (account,) if account is not None else tuple(accounts):
            for key in accounts.pop(each, ()):
                self._same.pop(key, None)
                self._connections.pop(key, None)

    def add(
        self, builder: BatchBuilder, records: Sequence[bytes], within: range, *, room: int, boot_to_epoch: int
    ) -> int:
        """Add the events of consecutive records by reusing earlier ones, until one has none to reuse.

        One call for many records, because calls would take most of the time.

        Args:
            builder: the batch.
            records: as sent by the kernel side.
            within: indices of the records to add.
            room: size of the batch to stop at, bytes.
            boot_to_epoch: offset to add to their times, nanoseconds.

        Returns:
            The index of the first record whose event was not added.
        """
        # The conditions under which a process's row stays valid too: see ProcessRows.
        if self._table.changes + self._containers.version != self._stamp:
            return within.start
        same, alike = self._same, None
        head = middle = path2_length = others = b""
        size = builder.size
        for index in within:
            record = records[index]
            if record[_EVENT_AT] in _CONNECTIONS and self._add_connection(builder, record, boot_to_epoch):
                # Asked first, because each has another port.
                pass
            elif (known := same.get(rest := record[_U64.size :])) is not None:
                event, entry, version, on_write = known
                if entry.version != version:
                    return index
                time = _U64.unpack_from(record)[0] + boot_to_epoch
                builder.repeat(time, event)
                if on_write is not None:
                    on_write(_INODE.unpack_from(record)[0], time)
            elif record[_EVENT_AT] != _EVENT:
                return index
            else:
                # The same process goes on opening files: comparing takes half as long as looking up.
                if (
                    alike is None
                    or record[_HEAD_TO_INODE] != head
                    or record[_INODE_TO_LENGTHS] != middle
                    or record[_PATH2_LENGTH] != path2_length
                    or record[_OTHER_LENGTHS] != others
                ):
                    alike = self._alike.get(_but_file(record))
                    if alike is None:
                        return index
                    head, middle = record[_HEAD_TO_INODE], record[_INODE_TO_LENGTHS]
                    path2_length, others = record[_PATH2_LENGTH], record[_OTHER_LENGTHS]
                opened, entry, version, on_write = alike
                if entry.version != version:
                    return index
                time = _U64.unpack_from(record)[0] + boot_to_epoch
                is_own = self.is_code_looked_up and NAMED_LIKE_CODE.search(record, _TEXTS_AT) is not None
                added = None if is_own else _add_alike(builder, opened, record, time)
                if added is None:
                    return index
                same[rest] = (added, entry, version, on_write)
                if on_write is not None:
                    on_write(_INODE.unpack_from(record)[0], time)
            # An upper bound, because the exact size takes as long as everything else about an open.
            size += 2 * len(record) + _FIXED_BYTES
            if size >= room:
                size = builder.size
                if size >= room:
                    return index + 1
        return within.stop

    def remember(
        self,
        builder: BatchBuilder,
        record: bytes,
        call: Syscall,
        event: Event,
        entry: TrackedProcess,
        *,
        names: NamesOf | None = None,
        on_write: OnWrite | None = None,
    ) -> None:
        """Remember an event just added, for reuse.

        Args:
            builder: the batch.
            record: as sent by the kernel side.
            call: as decoded.
            event: what was added.
            entry: its process.
            names: gave the event the names of an address; None if none are known.
            on_write: called for each event that is reused, if the call opened a file for writing.
        """
        # Mounts decide about its paths, too; and what a piece of an answer means depends on those before.
        if call.is_below_other_root or is_piece(call):
            return
        stamp = self._table.changes + self._containers.version
        if stamp != self._stamp:
            self._stamp = stamp
            self.clear()
        self._same[record[_U64.size :]] = (event, entry, entry.version, on_write)
        keys = None
        if names is not None and names.address is not None:
            keys = self._named.setdefault(names.address, {}).setdefault(names.account, [])
            keys.append(record[_U64.size :])
        opened: OpenedFile | EventParts
        if call.event == _OPEN.number and _is_about_one_path(call):
            if call.file is None and call.fd is None:
                opened = builder.parts(event)
            # A regular file may still be another kind of descriptor, depending on its file system.
            elif _opens_a_file(call) and builder.row(event)[_TYPE_COLUMN] == builder.intern(_REGULAR):
                opened = builder.opened_file(event, _FILE_ARGUMENTS)
            else:
                return
            self._alike[_but_file(record)] = (opened, entry, entry.version, on_write)
        elif (key := similarity(record)) is not None:
            like = connection_of(record, call, builder.parts(event), builder.intern)
            if like is not None:
                self._connections[key] = (like, entry, entry.version)
                if keys is not None:
                    keys.append(key)

    def _add_connection(self, builder: BatchBuilder, record: bytes, boot_to_epoch: int) -> bool:
        """Add a connection that is similar to an earlier one; return whether there is one."""
        key = similarity(record)
        known = None if key is None else self._connections.get(key)
        if known is None or known[1].version != known[2]:
            return False
        parts = similar_parts(known[0], record, builder.intern)
        if parts is None:
            return False
        builder.add_parts(_U64.unpack_from(record)[0] + boot_to_epoch, parts)
        return True


def _but_file(record: bytes) -> bytes:
    """Return an openat's record without time, inode, and lengths and texts of its paths."""
    return record[_HEAD_TO_INODE] + record[_INODE_TO_LENGTHS] + record[_PATH2_LENGTH] + record[_OTHER_LENGTHS]


def _opens_a_file(call: Syscall) -> bool:
    """Return whether _add_alike writes everything that depends on the file."""
    return (
        call.file is not None
        and stat.S_ISREG(call.file.mode)
        and not call.file.is_pseudo
        and call.result >= 0
        # If the directory's number equals the new descriptor, the file is named there as well.
        and call.arguments[0] & _U32 != call.fd
    )


def _is_about_one_path(call: Syscall) -> bool:
    return call.path2 is None and call.directory2 is None and not call.blob1 and not call.blob2


def _add_alike(builder: BatchBuilder, opened: OpenedFile | EventParts, record: bytes, time: int) -> Event | None:
    """Add an open that differs from an event in its file only; None if the file has no name to show."""
    inode, real_length, path_length, directory_length = _FILE.unpack_from(record)
    path_at = _TEXTS_AT + real_length
    directory_at = path_at + path_length
    end = directory_at + directory_length
    if not path_length or end > len(record):
        return None
    real_bytes, given_bytes = record[_TEXTS_AT:path_at], record[path_at:directory_at]
    given = text(given_bytes)
    if directory_length and given[:1] == "/":
        # Below another root directory.
        return None
    if isinstance(opened, EventParts):
        path = absolute(text(record[directory_at:end]) if directory_length else None, given)
        return None if path is None else builder.add_parts(time, _failed_open(opened, builder.intern, path, given))
    if not real_length:
        return None
    if real_bytes == given_bytes and given[:1] == "/":
        # Most programs name a file by its path, and the kernel's is clean.
        return builder.add_file(time, opened, inode, (given, given, given))
    path = absolute(text(record[directory_at:end]) if directory_length else None, given)
    return None if path is None else builder.add_file(time, opened, inode, (path, given, text(real_bytes)))


def _failed_open(like: EventParts, intern: Intern, path: str, given: str) -> EventParts:
    """Return an open that failed as an earlier one did, for another path: absolute and clean, and as passed."""
    name, row, texts = intern(path), like.row, like.texts.copy()
    texts[_FILE_ARGUMENTS.path] = name
    return EventParts((*row[:_NAME_COLUMN], name, intern(given), *row[_AFTER_NAMES:]), like.names, texts, like.numbers)
