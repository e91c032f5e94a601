"""Converts the arguments of a system call, as a test names them, to the registers and memory that a caller passes.

Arguments, their registers and the names of their flags come from the collector's own table, so that a test uses the
collector's names.
"""

import struct
from collections.abc import Callable
from signal import Signals

from collector.events.system_calls import NONE, Argument, Call
from lanner.ruletest.table import MappingReader, TestFileError, number_of, text_of
from processor.fields.process import CAPABILITIES
from processor.loading.problems.hints import did_you_mean
from processor.loading.yaml.nodes import Node, Scalar
from schemas.catalogue.flags import FLAG_TABLES

_U32, _U64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_AT_FDCWD = -100
_NUMBERS = frozenset({"i", "pid", "u", "n", "hex", "x"})
_FLAG_KINDS = {
    "openflags": "file_flags",
    "socketflags": "file_flags",
    "how_flags": "file_flags",
    "mountflags": "mount_flags",
    "sockopt": "sockopt_options",
    "how_resolve": "openat2_flags",
    "clone_args": "clone_flags",
}
_FLAGS = frozenset({"flags", "enum", "mode", *_FLAG_KINDS})
_OCTAL = frozenset({"octal", "openmode", "how_mode"})
_USERS = frozenset({"uid", "gid"})
_HOW = {"how_flags": 0, "how_mode": 1, "how_resolve": 2}
PATH_FIELDS = {"n": "fs.path.name", "s": "fs.path.source", "t": "fs.path.target"}
"""The field that holds a path, by the path's role in the call."""
SETTABLE = _NUMBERS | _FLAGS | _OCTAL | _USERS | {"signal", "cap", "limit", "string", "data", "pair"}
"""Types of arguments that a test may state; others follow from the rest of the event."""


def flag_table(argument: Argument) -> str:
    """Return the name of an argument's flag table."""
    return argument.table or _FLAG_KINDS.get(argument.kind, "")


def flags_of(node: Node, key: str, table_name: str) -> int:
    """Parse flag names joined by |, or a number. Raises TestFileError."""
    text = text_of(node, key)
    if text[:1].isdigit():
        return _octal(node, key) if table_name in ("chmod_mode", "mknod_mode") else number_of(node, key) & _U32
    value = 0
    entries = {entry.name: entry for entry in FLAG_TABLES[table_name].entries}
    for name in (part.strip() for part in text.split("|")):
        entry = entries.get(name) or entries.get(name.removeprefix("MS_"))
        if entry is None:
            known = [each.name for each in entries.values() if each.kernel is not None]
            raise TestFileError(f"'{key}' has no flag '{name}'", node, did_you_mean(name, known) or _some(known))
        if entry.kernel is None:
            raise TestFileError(
                f"'{name}' is not a flag that a caller can pass", node, "the kernel side derives it from the file"
            )
        value |= entry.kernel
    return value


def _some(known: list[str]) -> str:
    shown = ", ".join(sorted(known)[:30])
    return f"known are {shown}{' ...' if len(known) > 30 else ''}"


def _octal(node: Node, key: str) -> int:
    text = text_of(node, key)
    try:
        value = int(text, 8)
    except ValueError:
        raise TestFileError(f"'{key}' takes octal digits, as in 0755", node) from None
    if not 0 <= value <= 0o177777:
        raise TestFileError(f"'{key}' has too many digits for a mode", node)
    return value


def _user(node: Node, key: str) -> int:
    return 0 if text_of(node, key) == "root" else number_of(node, key)


def _signal(node: Node, key: str) -> int:
    text = text_of(node, key)
    if text in Signals.__members__:
        return Signals[text].value
    if text[:3] == "SIG":
        raise TestFileError(f"unknown signal '{text}'", node, did_you_mean(text, list(Signals.__members__)))
    return number_of(node, key)


def _value(argument: Argument, node: Node, key: str) -> int:
    if argument.kind in _FLAGS:
        return flags_of(node, key, flag_table(argument))
    if argument.kind in _OCTAL:
        return _octal(node, key)
    if argument.kind in _USERS:
        return _user(node, key)
    return _signal(node, key) if argument.kind == "signal" else number_of(node, key)


def argument_node(table: MappingReader, argument: Argument) -> Node | None:
    """Return what a test states for an argument, under its own name or as evt.arg."""
    if argument.name == "type" and argument.kind != "string":
        # `type` alone may also be the type of the event.
        return table.get("evt.arg.type", "socket_type")
    return table.get(argument.name, f"evt.arg.{argument.name}")


Registers = tuple[int, int, int, int, int, int]


def read_registers(spec: Call, table: MappingReader) -> tuple[Registers, bytes]:
    """Read the arguments that are numbers, flags or memory, into registers and the call's first memory block.

    Raises:
        TestFileError: A value is invalid.
    """
    registers = [0, 0, 0, 0, 0, 0]
    memory = _Memory()
    for argument in spec.arguments:
        if argument.kind == "fd" and argument.index != spec.fd:
            _descriptor_argument(argument, table, registers)
            continue
        if argument.kind not in SETTABLE and argument.kind.rstrip("12") != "pair":
            continue
        node = argument_node(table, argument)
        if node is None:
            continue
        memory.place(argument, node)
        if argument.index >= 0 and argument.kind not in ("cap", "limit"):
            value = _value(argument, node, argument.name)
            registers[argument.index] = value & _U64
            if argument.kind == "openflags" and spec.mode_at < 0:
                registers[argument.index] = value & _U32
    _levels(spec, registers)
    a, b, c, d, e, f = registers
    return (a, b, c, d, e, f), memory.bytes()


def _levels(spec: Call, registers: list[int]) -> None:
    """Use SOL_SOCKET if no level is stated: only there have options names."""
    if spec.event in ("setsockopt", "getsockopt") and not registers[1]:
        registers[1] = 1


def _descriptor_argument(argument: Argument, table: MappingReader, registers: list[int]) -> None:
    node = argument_node(table, argument)
    is_directory = argument.name.endswith(("dirfd", "olddir", "newdir"))
    value = _AT_FDCWD if is_directory else 0
    if node is not None:
        text = text_of(node, argument.name)
        if is_directory and text.startswith("/"):
            value = 5
        elif text != "AT_FDCWD":
            value = number_of(node, argument.name)
    registers[argument.index] = value & _U64


def directory_of(spec: Call, which: int, table: MappingReader, cwd: str, path: str | None) -> str | None:
    """Return the directory that a relative path starts from, as the kernel side reports it."""
    if path is None or path.startswith("/") or which >= len(spec.paths):
        return None
    place = spec.paths[which][1]
    if place == NONE:
        return None
    argument = next((each for each in spec.arguments if each.kind == "fd" and each.index == place), None)
    node = None if argument is None else argument_node(table, argument)
    if isinstance(node, Scalar) and node.value.startswith("/"):
        return node.value
    return cwd


class _Memory:
    """The first memory block of a call, filled from its arguments."""

    def __init__(self) -> None:
        self._how = [0, 0, 0]
        self._sets = [0, 0, 0]
        self._pair = [0, 0]
        self._plain = b""
        self._used: set[str] = set()

    def place(self, argument: Argument, node: Node) -> None:
        kind = argument.kind
        if kind in _HOW:
            self._how[_HOW[kind]] = _value(argument, node, argument.name)
            self._used.add("how")
        elif kind == "cap":
            self._sets[argument.index] = _capability_set(node, argument.name)
            self._used.add("sets")
        elif kind in ("string", "data"):
            self._plain = text_of(node, argument.name).encode("utf-8", "surrogateescape")
        elif kind == "clone_args":
            self._plain = struct.pack("<Q", flags_of(node, argument.name, "clone_flags"))
        elif kind in ("limit", "pair1", "pair2"):
            place = argument.index if kind == "limit" else int(kind[-1]) - 1
            self._pair[place] = number_of(node, argument.name)
            self._used.add("limit" if kind == "limit" else "pair")

    def bytes(self) -> bytes:
        makers: dict[str, Callable[[], bytes]] = {
            "how": lambda: struct.pack("<3Q", *self._how),
            "sets": lambda: struct.pack("<6I", *(s & _U32 for s in self._sets), *(s >> 32 & _U32 for s in self._sets)),
            "limit": lambda: struct.pack("<2q", *self._pair),
            "pair": lambda: struct.pack("<2i", *(number & 0x7FFFFFFF for number in self._pair)),
        }
        return next((make() for name, make in makers.items() if name in self._used), self._plain)


def _capability_set(node: Node, key: str) -> int:
    text = text_of(node, key)
    if text[:1].isdigit():
        return number_of(node, key) & _U64
    mask = 0
    for name in text.replace("|", " ").split():
        if name not in CAPABILITIES:
            raise TestFileError(f"unknown capability '{name}'", node, did_you_mean(name, CAPABILITIES))
        mask |= 1 << CAPABILITIES.index(name)
    return mask
