"""The facts to read of each system call, and the names of its arguments: one line per event type in syscalls.txt.

The kernel side is generic: a descriptor per call number specifies which arguments are descriptors, paths or memory.
Names and order of arguments are Falco's event table (driver/event_table.c).
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag
from itertools import chain
from pathlib import Path

from collector.kernel.architecture import HERE, Architecture

NONE = 0xFF
_KINDS = ("open", "openat", "openat2", "creat", "path", "text", "fd", "either")
_FILTERS = {kind: number for number, kind in enumerate(_KINDS, start=1)}
"""How the kernel side checks a call's path, with its enum filter_kind; 0 for calls whose path isn't checked."""

CWD = 6
"""As a directory: the working directory, for calls without a directory argument."""


class DescriptorFlag(IntFlag):
    """Same names and values as in lanner.bpf.c."""

    EMIT = 1
    STATE = 2
    FD_IS_RESULT = 4
    FAILED_ONLY = 8
    BLOB1_RESULT = 16
    MESSAGE = 32
    PRCTL_NAME = 64
    SOCKETCALL = 128
    STRING_BLOB1 = 256
    POINTED = 512
    INTERRUPTED = 1024
    CONNECTS = 2048
    CLONE_ARGUMENTS = 4096
    ANSWERS = 8192
    HELLOS = 16384
    VECTOR = 32768


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument as rules name it: the kind of its value and its source."""

    name: str
    kind: str
    index: int = -1
    table: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """How one event type is captured, and its arguments."""

    event: str
    number: int
    """Its index in CALLS; each kernel record contains it."""
    flags: DescriptorFlag
    fd: int
    paths: tuple[tuple[int, int], ...]
    """For each path its argument and that of its directory."""
    blobs: tuple[tuple[int, int, int], ...]
    """For each piece of memory its argument, maximum size, and the argument that contains its size."""
    arguments: tuple[Argument, ...]
    path_roles: str
    """Roles of the paths in fs.path.*: n name, s source, t target, - none."""
    flags_at: int
    """Index of the argument ``flags``; -1 if there is none."""
    mode_at: int
    has_data: bool
    """The first piece of memory is the data read or written."""
    filter: int
    """How the kernel side checks the path: its enum filter_kind, 0 for not at all."""
    opens_file: bool
    """Returns the descriptor of an opened file."""
    registers: frozenset[int]
    """Arguments whose registers the event carries; no rule can refer to the other registers."""


_WORDS = {
    "state": DescriptorFlag.STATE,
    "failed": DescriptorFlag.FAILED_ONLY,
    "result": DescriptorFlag.BLOB1_RESULT,
    "message": DescriptorFlag.MESSAGE,
    "prctl": DescriptorFlag.PRCTL_NAME,
    "string": DescriptorFlag.STRING_BLOB1,
    "rfd": DescriptorFlag.FD_IS_RESULT,
    "cloneargs": DescriptorFlag.CLONE_ARGUMENTS,
    "answers": DescriptorFlag.ANSWERS,
    "hellos": DescriptorFlag.HELLOS,
    "vector": DescriptorFlag.VECTOR,
}


_INTERRUPTED = {
    "-": DescriptorFlag(0),
    "before": DescriptorFlag(0),
    "connects": DescriptorFlag.CONNECTS,
    "module": DescriptorFlag.INTERRUPTED,
}
_OF_MEMORY = frozenset({"cap", "limit", "uring", "uringflags", "age"})
"""Kinds whose number is an offset in the memory that was read."""
_OF_TWO_REGISTERS = frozenset({"openmode", "sockopt"})
"""Kinds that also depend on the preceding argument."""
_OTHER_REGISTERS = {"bpffd": (0,), "prctl_number": (0, 1)}


def _argument(text: str) -> Argument:
    name, rest = text.split(":")
    rest, _, table = rest.partition("=")
    if rest in ("path1", "path2", "pair1", "pair2"):
        return Argument(name, rest)
    kind = rest.rstrip("0123456789")
    return Argument(name, kind, int(rest[len(kind) :] or -1), table)


def _call(number: int, row: str) -> Call:
    event, capture, interrupted, arguments = (part.strip() for part in row.split("|"))
    flags, fd, roles, path_filter = DescriptorFlag.EMIT | _INTERRUPTED[interrupted], NONE, "", 0
    paths: list[tuple[int, int]] = []
    blobs: list[tuple[int, int, int]] = []
    for word in capture.split():
        if word in _WORDS:
            flags |= _WORDS[word]
        elif word == "address":
            # The address is always the second piece of memory; the first is data.
            blobs.insert(0, (NONE, 0, NONE))
        elif word.startswith("filter:"):
            path_filter = _FILTERS[word.removeprefix("filter:")]
        elif word.startswith("fd"):
            fd = int(word[2:])
        elif word.startswith("~"):
            roles = word[1:]
        elif word.startswith("p"):
            path, _, directory = word[1:].partition("@")
            paths.append((int(path.rstrip("!")), NONE if path.endswith("!") else int(directory or CWD)))
        elif word.startswith("b"):
            where, _, size = word[1:].partition(":")
            size, _, length = size.partition("/")
            blobs.append((int(where), int(size), int(length or NONE)))
    named = tuple(map(_argument, arguments.split()))
    indexes = {argument.name: index for index, argument in enumerate(named)}
    return Call(
        event=event,
        number=number,
        flags=flags,
        fd=fd,
        paths=tuple(paths),
        blobs=tuple(blobs),
        arguments=named,
        path_roles=roles,
        flags_at=indexes.get("flags", -1),
        mode_at=indexes.get("mode", -1),
        has_data=any(argument.kind == "data" for argument in named),
        filter=path_filter,
        opens_file=bool(flags & DescriptorFlag.FD_IS_RESULT) and any(argument.kind == "ino" for argument in named),
        registers=frozenset(chain.from_iterable(map(_registers, named))),
    )


def _registers(argument: Argument) -> tuple[int, ...]:
    if argument.kind in _OF_TWO_REGISTERS:
        return argument.index - 1, argument.index
    if argument.kind in _OF_MEMORY or argument.index < 0:
        return _OTHER_REGISTERS.get(argument.kind, ())
    return (argument.index,)


_ROWS = [
    row
    for row in Path(__file__).parents[1].joinpath("syscalls.txt").read_text(encoding="ascii").splitlines()
    if row and not row.startswith("#")
]
CALLS = tuple(_call(number, row) for number, row in enumerate(_ROWS))
"""Every system call that can be watched."""

BY_EVENT = {call.event: call for call in CALLS}
EVERYTHING = frozenset(BY_EVENT) | {"execve", "execveat", "procexit"}
"""Every event type that the collector supports."""

_DESCRIPTOR = struct.Struct("<HH13Bx")
NO_DESCRIPTOR = bytes(_DESCRIPTOR.size)
"""Reports nothing."""


def descriptors(events: Iterable[str], architecture: Architecture = HERE) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """Return the kernel side's tables for event types: by call number (32-bit ones from 512 up), and by socketcall."""
    sent = frozenset(events)
    by_number: dict[int, bytes] = {}
    for first, table in ((0, architecture.NATIVE), (512, architecture.COMPAT)):
        for number, event in table.items():
            extra = DescriptorFlag.POINTED if first and number in architecture.POINTED else None
            packed = packed_descriptor(event, sent, extra, is_short=bool(first) and number not in architecture.TIME64)
            if packed is not None:
                by_number[first + number] = packed
    by_socketcall = {
        number: packed
        for number, event in architecture.SOCKETCALLS.items()
        if (packed := packed_descriptor(event, sent)) is not None
    }
    if by_socketcall:
        by_number[512 + architecture.SOCKETCALL] = _DESCRIPTOR.pack(
            0, DescriptorFlag.SOCKETCALL, *[NONE] * 9, 0, 0, 0, 0
        )
    return by_number, by_socketcall


PATHS_ONLY = b"\2"
"""Marks a watched number whose call leaves no open file, so that only its paths identify the file."""


def watched_numbers(
    by_number: Iterable[int], events: Iterable[str], architecture: Architecture = HERE
) -> dict[int, bytes]:
    """Return the kernel side's table of the numbers that it looks at, before it knows the entry of a call.

    The numbers are the keys of what descriptors() returns; paths are needed only of the calls to send.
    """
    named = frozenset(event for event in events if event in BY_EVENT and _has_only_paths(BY_EVENT[event]))
    found: dict[int, bytes] = {}
    for number in by_number:
        event = (architecture.NATIVE if number < 512 else architecture.COMPAT).get(number % 512, "")
        if event in named:
            found[number % 512] = PATHS_ONLY
        else:
            found.setdefault(number % 512, b"\1")
    return found


def _has_only_paths(call: Call) -> bool:
    # A text that is no file name has no directory.
    return any(at != NONE for _, at in call.paths) and not call.opens_file


def packed_descriptor(
    event: str, sent: frozenset[str], extra: DescriptorFlag | None = None, *, is_short: bool = False
) -> bytes | None:
    """Pack struct descriptor for an event type; None if nothing is reported for it.

    Args:
        event: the type.
        sent: the types that are reported.
        extra: flags for this entry only.
        is_short: this entry passes times of 32 bits.
    """
    call = BY_EVENT.get(event)
    if call is None:
        return None
    flags = call.flags if extra is None else call.flags | extra
    if event not in sent:
        flags &= ~DescriptorFlag.EMIT
        if not flags & DescriptorFlag.STATE:
            return None
    (path1, dir1), (path2, dir2) = (*call.paths, (NONE, NONE), (NONE, NONE))[:2]
    (blob1, size1, length1), (blob2, size2, length2) = (*call.blobs, (NONE, 0, NONE), (NONE, 0, NONE))[:2]
    if is_short and any(argument.kind == "age" for argument in call.arguments):
        size1 //= 2
    return _DESCRIPTOR.pack(
        *(call.number, flags, call.fd, path1, path2, dir1, dir2, blob1, length1, blob2, length2, size1, size2),
        call.filter,
        sum(1 << register for register in call.registers),
    )
