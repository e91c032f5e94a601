"""Events of a capture: all versions of all events, and the records in blocks, completed to the current version.

Source: libscap's savefile reader and converter. Only exits are evaluated; older captures have some parameters only in
the entry of the call.
"""

import json
import struct
from collections import Counter
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

from foundation.caches import SizedMap
from lanner.captures.format.blocks import MAX_TEXT, Block, bad_capture, text_of
from schemas.catalog.fields import ParamSpec

Source = Literal["old", "enter", "empty", "default", "container"]

SIZES = {
    **dict.fromkeys(("INT8", "UINT8", "SIGTYPE", "FLAGS8", "ENUMFLAGS8"), 1),
    **dict.fromkeys(("INT16", "UINT16", "PORT", "FLAGS16", "ENUMFLAGS16", "SYSCALLID"), 2),
    **dict.fromkeys(("INT32", "UINT32", "UID", "GID", "FLAGS32", "ENUMFLAGS32", "MODE", "SIGSET", "FD32", "PID32"), 4),
    **dict.fromkeys(("INT64", "UINT64", "ERRNO", "FD", "PID", "RELTIME", "ABSTIME"), 8),
}
SIGNED = frozenset({"INT8", "INT16", "INT32", "INT64", "ERRNO", "FD", "FD32", "PID", "PID32"})
GENERIC = "syscall"
"""The event of system calls without an event of their own."""
_SECOND_DESCRIPTOR = frozenset({"splice"})
"""Events that are about the second of their descriptors."""
_FORMER, _FORMER_FLAGS = frozenset({0x204, 0x8010ABCD}), frozenset({0x208})
COUNTED, _COUNTED_FLAGS = frozenset({0x216, 0x221}), frozenset({0x217, 0x222})
"""Blocks that state the number of an event's parameters, without and with flags."""
EVENT_BLOCKS = _FORMER | _FORMER_FLAGS | COUNTED | _COUNTED_FLAGS
_WITH_FLAGS = _FORMER_FLAGS | _COUNTED_FLAGS
_WITHOUT_COUNT = _FORMER | _FORMER_FLAGS
_HEAD = struct.Struct("<QqIH")
_LENGTHS_TOO_LONG = frozenset({"notification", "infra"})
"""Events whose recorded length is 3 too large in old captures."""
_RESULT_SIZES = frozenset({4, 8})
_LATEST = (1 << 63) - 1
_MAX_WAITING, _MAX_ENTRY, _MAX_ENTRIES = 8192, 16384, 8 << 20
"""Threads whose last entry is retained, the bytes of an entry that may be, and those of all entries."""


@dataclass(frozen=True, slots=True)
class EventVersion:
    """One version of an event, at entry to or exit from a system call."""

    number: int
    name: str
    is_exit: bool
    is_old: bool
    is_unused: bool
    is_joined: bool
    """Older captures need other events, or other versions, to be complete."""
    is_large: bool
    """Sizes of parameters take 32 bits."""
    params: tuple[ParamSpec, ...]
    fd_at: int
    """The parameter with the descriptor that the event is about; -1 if it is about none."""
    creates_fd: bool
    has_fd: bool
    """True if it uses or creates a descriptor."""
    has_result: bool
    """True if its first parameter is what the system call returned."""
    indices: dict[str, int]
    """Positions of the parameters by name."""


@dataclass(frozen=True, slots=True)
class ConversionStep:
    """Where one parameter of the next version comes from."""

    source: Source
    index: int
    is_empty_without: bool
    """Without an entry, the parameter is missing and not 0."""


@dataclass(frozen=True, slots=True)
class EntryJoin:
    """How an event with some number of parameters is handled."""

    action: Literal["add", "store", "change", "pass", "store_pass"]
    into: int
    """The number of the next version."""
    steps: tuple[ConversionStep, ...]


def _version(number: int, row: list[Any]) -> EventVersion:
    name, direction, flags, rows = row
    params = tuple(ParamSpec(*param) for param in rows)
    is_exit = direction == "<"
    fd_at = -1
    if "uses_fd" in flags and is_exit:
        found = [at for at, param in enumerate(params) if at and param.type == "FD"]
        fd_at = -1 if not found else found[-1] if name in _SECOND_DESCRIPTOR else found[0]
    return EventVersion(
        number=number,
        name=name,
        is_exit=is_exit,
        is_old="old" in flags,
        is_unused="unused" in flags,
        is_joined="joined" in flags,
        is_large="large" in flags,
        params=params,
        fd_at=fd_at,
        creates_fd="creates_fd" in flags,
        has_fd="creates_fd" in flags or "uses_fd" in flags,
        has_result=is_exit and bool(params) and name != GENERIC,
        indices={param.name: at for at, param in enumerate(params)},
    )


def _read() -> Any:
    return json.loads(files("lanner.captures").joinpath("events.json").read_text(encoding="utf-8"))


_DATA = _read()
EVENTS = tuple(_version(number, row) for number, row in enumerate(_DATA["events"]))
"""All versions of all events, by number."""
JOINS = {
    (number, count): EntryJoin(
        action, into or 0, tuple(ConversionStep(step[0], step[1], len(step) > 2) for step in steps)
    )
    for number, count, action, into, steps in _DATA["joins"]
}
"""By event number and number of parameters."""
SYSTEM_CALLS: tuple[str, ...] = tuple(_DATA["system_calls"])
"""Names of system calls by Falco's number."""
_NATIVE: tuple[str, ...] = tuple(_DATA["x86_64"])


def system_call_name(number: int, native: int | None) -> str:
    """Return the name of a system call without an event of its own.

    number: Falco's, 0 for a call that the recording release did not know; native: the kernel's on x86-64.
    """
    if not number and native is not None and native < len(_NATIVE):
        return _NATIVE[native] or SYSTEM_CALLS[0]
    return SYSTEM_CALLS[number] if number < len(SYSTEM_CALLS) else SYSTEM_CALLS[0]


def default_bytes(kind: str) -> bytes:
    """Return the value of a parameter that an old capture lacks."""
    return (b"\xff" if kind in {"UID", "GID"} else b"\0") * SIZES.get(kind, 0)


@dataclass(slots=True)
class CapturedEvent:
    """One event."""

    time: int
    """Nanoseconds since the epoch."""
    tid: int
    cpu: int
    version: EventVersion
    params: tuple[bytes, ...]
    """The encoded parameters; an empty one may be missing."""
    entry: "CapturedEvent | None" = None
    """The entry of the call, if the capture contains it and its parameters may be better than those of the exit."""
    number: int = 0

    def number_of(self, name: str, default: int = 0) -> int:
        """Return an unsigned parameter, or the default if it is missing."""
        data = self.bytes_of(name)
        return int.from_bytes(data[:8], "little") if data else default

    def signed(self, name: str, default: int = 0) -> int:
        """Return a signed parameter, or the default if it is missing."""
        data = self.bytes_of(name)
        return int.from_bytes(data[:8], "little", signed=True) if data else default

    def text(self, name: str) -> str | None:
        """Return a text, or None if it is missing."""
        data = self.bytes_of(name)[:MAX_TEXT]
        return text_of(data) if data else None

    def bytes_of(self, name: str) -> bytes:
        """Return an encoded parameter; nothing if it is missing."""
        at = self.version.indices.get(name, -1)
        return self.params[at] if 0 <= at < len(self.params) else b""

    @property
    def has_result(self) -> bool:
        """True if it contains the result of the system call; some calls are recorded without parameters."""
        return self.version.has_result and bool(self.params)

    @property
    def result(self) -> int:
        """The result of the system call; 0 for events without one."""
        data = self.params[0] if self.params and self.version.has_result else b""
        return int.from_bytes(data, "little", signed=True) if len(data) in _RESULT_SIZES else 0


def read_event(name: str, block: Block) -> CapturedEvent | None:
    """Read the event of a block; None for a number beyond the event table. Raises BadCapture."""
    body = block.body
    start = 6 if block.type in _WITH_FLAGS else 2
    without_count = block.type in _WITHOUT_COUNT
    begin = start + _HEAD.size + (0 if without_count else 4)
    if len(body) < begin:
        raise bad_capture(name, block.at, f"an event of {len(body)} bytes is too short")
    time, tid, length, kind = _HEAD.unpack_from(body, start)
    if kind >= len(EVENTS):
        return None
    version = EVENTS[kind]
    if without_count and version.name in _LENGTHS_TOO_LONG:
        length -= 3
    end = start + length
    if not begin <= end <= len(body):
        raise bad_capture(name, block.at, f"an event claims {length:,} bytes, but its block has {len(body) - start:,}")
    code = "I" if version.is_large and not without_count else "H"
    if without_count:
        params = _guess_params(body, begin, end, len(version.params))
    else:
        (count,) = struct.unpack_from("<I", body, begin - 4)
        params = _params(body, begin, end, count, code) if count <= (end - begin) // 2 else None
    if params is None:
        raise bad_capture(name, block.at, f"the parameters of an event ({version.name}) don't fit its {length:,} bytes")
    (cpu,) = struct.unpack_from("<H", body)
    return CapturedEvent(min(time, _LATEST), tid, cpu & 0x7FFF, version, params)


def _params(body: bytes, begin: int, end: int, count: int, code: str) -> tuple[bytes, ...] | None:
    """Split parameters; None if their sizes exceed the event."""
    at = begin + count * (4 if code == "I" else 2)
    if at > end:
        return None
    found = []
    for size in struct.unpack_from(f"<{count}{code}", body, begin):
        if size > end - at:
            return None
        found.append(body[at : at + size])
        at += size
    return tuple(found)


def _guess_params(body: bytes, begin: int, end: int, most: int) -> tuple[bytes, ...] | None:
    """Split the parameters of an event whose number of parameters isn't recorded: the one that fills it exactly."""
    for count in range(most, -1, -1):
        if begin + 2 * count > end:
            continue
        sizes = struct.unpack_from(f"<{count}H", body, begin)
        if begin + 2 * count + sum(sizes) == end:
            return _params(body, begin, end, count, "H")
    return None


class EventJoiner:
    """Completes events to the current version of their event, with the parameters of entries."""

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()
        """Events that could not be completed, by name."""
        self.has_entries = False
        """True if any entry has been retained."""
        self._stored: SizedMap[int, CapturedEvent] = SizedMap(_MAX_WAITING, _MAX_ENTRIES)
        self._entered: SizedMap[int, CapturedEvent] = SizedMap(_MAX_WAITING, _MAX_ENTRIES)

    def join(self, event: CapturedEvent) -> CapturedEvent | None:
        """Return the event in its current version; None if it is no event of its own."""
        current: CapturedEvent | None = event
        for _ in range(len(EVENTS)):
            if current is None or not self._has_to_change(current):
                break
            key = (current.version.number, len(current.params))
            join = JOINS.get(key)
            if join is None:
                self.skipped[current.version.name] += 1
                return None
            if join.action in {"store", "store_pass"}:
                self._retain(self._stored, current)
            if join.action == "store":
                return None
            if join.action in {"pass", "store_pass"}:
                # Falco counts these entries, even of calls whose entries are no longer recorded.
                return self._paired(current)
            current = self._next(current, join)
        if current is None or current.version.is_unused:
            return None
        paired = self._paired(current)
        return None if paired.version.is_old and not paired.version.is_exit else paired

    def has_entry(self, tid: int) -> bool:
        """Return whether an entry of a thread waits for its exit."""
        return tid in self._entered or tid in self._stored

    def forget(self, tid: int, *, is_exit: bool) -> None:
        """Forget what an entry or an exit of a thread ends, if it needs nothing of it."""
        (self._entered if is_exit else self._stored).pop(tid)

    def _retain(self, entries: SizedMap[int, CapturedEvent], event: CapturedEvent) -> None:
        self.has_entries = True
        size = sum(map(len, event.params))
        if size <= _MAX_ENTRY:
            entries.put(event.tid, event, size)

    def _has_to_change(self, event: CapturedEvent) -> bool:
        version = event.version
        if version.is_unused or not version.is_joined:
            return False
        return not version.is_exit or version.is_old or len(event.params) != len(version.params)

    def _next(self, event: CapturedEvent, join: EntryJoin) -> CapturedEvent | None:
        entry = self._stored.get(event.tid)
        if entry is not None and entry.version.number != event.version.number - 1:
            entry = None
        version = EVENTS[join.into] if join.action == "change" else event.version
        params = [] if join.action == "change" else list(event.params)
        is_used = False
        for step in join.steps:
            if len(params) >= len(version.params):
                return None
            kind = version.params[len(params)].type
            origin = event if step.source == "old" else entry if step.source == "enter" else None
            if step.source == "container":
                params.append(_container_json(event))
            elif origin is not None and step.index < len(origin.params):
                is_used = is_used or origin is entry
                # A type that contains several kinds of values begins with the kind, and is taken over as it is.
                params.append(origin.params[step.index][: SIZES.get(kind)])
            elif step.source == "empty" or step.is_empty_without:
                params.append(b"")
            else:
                params.append(default_bytes(kind))
        if is_used:
            self._stored.pop(event.tid)
        return CapturedEvent(event.time, event.tid, event.cpu, version, tuple(params))

    def _paired(self, event: CapturedEvent) -> CapturedEvent:
        if not event.version.is_exit:
            if event.version.is_joined:
                self._retain(self._entered, event)
            return event
        entry = self._entered.pop(event.tid)
        if entry is not None and (
            entry.version.number == event.version.number - 1
            or (entry.version.name, event.version.name) == ("execveat", "execve")
        ):
            event.entry = entry
        return event


def _container_json(event: CapturedEvent) -> bytes:
    """Return the description of a container as JSON, from the event with its parts."""
    facts = {
        "id": event.text("id"),
        "type": event.number_of("type"),
        "name": event.text("name"),
        "image": event.text("image"),
    }
    return json.dumps({"container": facts}).encode() + b"\0"
