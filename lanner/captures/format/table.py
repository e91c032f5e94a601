"""The event table: the events of all versions by number, and how old ones become current ones.

Facts of Falco's driver (event_table.c) and of its converter of captures, as data in events.json.
"""

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

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
