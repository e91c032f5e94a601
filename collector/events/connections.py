"""Reuses the work done for an earlier connection: those of a server, or to one, differ only in a port or two."""

import struct
from dataclasses import dataclass

from collector.events.batch_builder import BatchBuilder, EventParts, Intern
from collector.events.descriptors import socket_address
from collector.events.system_calls import BY_EVENT, CALLS
from collector.records.layout import HEAD, SOCKET, SYSCALL
from collector.records.types import Syscall
from schemas.catalogue.descriptor_types import TYPE_CHARACTERS
from schemas.columns import EVENT_COLUMNS

_TIME, _CPU, _RESULT, _FD = HEAD.span("time"), HEAD.span("cpu"), SYSCALL.span("result"), SYSCALL.span("fd")
_LOCAL_PORT, _REMOTE_PORT = SOCKET.span("local_port"), SOCKET.span("remote_port")
_VARYING = struct.Struct(
    f"<{_CPU.start}xI{_RESULT.start - _CPU.stop}xq{_FD.start - _RESULT.stop}xi{_LOCAL_PORT.start - _FD.stop}x2H"
)
"""CPU, result, descriptor, both ports."""
_AROUND_PORTS = slice(_FD.stop, _LOCAL_PORT.start), slice(_REMOTE_PORT.stop, None)
_BEFORE_INODE, _AFTER_INODE = SYSCALL.between("result", "inode"), slice(SYSCALL.span("inode").stop, _FD.start)
_EVENT_AT = SYSCALL.span("event")
_CONNECT = BY_EVENT["connect"].number.to_bytes(2, "little")
_ACCEPTS = frozenset(BY_EVENT[name].number.to_bytes(2, "little") for name in ("accept", "accept4"))
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
    """What the descriptor's label begins with: ``<4>``."""
    label_at: int
    """Position of the argument that labels the descriptor."""
    name_at: int
    """Position of the argument that names both ends."""


def similarity(record: bytes) -> bytes | None:
    """Return what the records of similar connections share; None if the record is no connection."""
    event = record[_EVENT_AT]
    around, rest = _AROUND_PORTS
    if event == _CONNECT:
        fixed = record[_RESULT] + record[_FD]
    elif event in _ACCEPTS:
        fixed = b""
    else:
        return None
    # A socket's inode isn't reported.
    before, after = record[_BEFORE_INODE], record[_AFTER_INODE]
    return record[_TIME.stop : _CPU.start] + fixed + before + after + record[around] + record[rest]


def connection_of(record: bytes, call: Syscall, parts: EventParts, intern: Intern) -> SimilarConnections | None:
    """Return what similar connections share with one; None if they share too little.

    Args:
        record: as sent by the kernel side.
        call: the same record, decoded.
        parts: its event.
        intern: returns a text's index in the batch.
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

    Args:
        like: what they share.
        record: of the later one; `similarity` returns the same for both.
        intern: returns a text's index in the batch.
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


def add_connection(builder: BatchBuilder, like: SimilarConnections, record: bytes, time: int) -> bool:
    """Append a connection that is similar to an earlier one, if it is. time: epoch nanoseconds."""
    parts = similar_parts(like, record, builder.intern)
    if parts is None:
        return False
    builder.add_parts(time, parts)
    return True
