"""Converts the arguments of a system call, as a test names them, to the registers and memory that a caller passes.

Arguments, their registers and the names of their flags come from the collector's own table, so that a test uses the
collector's names.
"""

import struct
from collections.abc import Mapping
from signal import Signals
from typing import Any

from collector.events.system_calls import NONE, Argument, Call
from collector.kernel.architecture import common_open_flags
from foundation.text import did_you_mean
from foundation.yaml import mappings
from foundation.yaml.mappings import BadMapping, MappingReader, Parse
from foundation.yaml.nodes import Node, ScalarNode
from lanner.ruletest.events.processes import capability_mask
from schemas.catalog.flags import FLAG_TABLES

_U32, _U64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_IN_MEMORY = ("cap", "limit", "age")
"""Kinds whose index is a place in memory, not a register."""
_LAYOUTS = (
    (_U64, "<3Q", ("how_flags", "how_mode", "how_resolve")),
    (_U64, "<2Q", ("limit0", "limit1")),
    (0x7FFFFFFF, "<2i", ("pair1", "pair2")),
)
"""Memory that a call reads or writes: a mask for each number, the structure, and the kinds of its members."""
_AT_FDCWD = -100
_HEXADECIMAL = ("hex", "x")
"""Kinds of numbers that an event has in hexadecimal digits without 0x."""
_FLAG_KINDS = {
    **dict.fromkeys(("openflags", "socketflags", "how_flags"), "file_flags"),
    **dict.fromkeys(("flags", "enum", "mode"), ""),
    "mountflags": "mount_flags",
    "sockopt": "sockopt_options",
    "how_resolve": "openat2_flags",
}
"""The kinds of arguments that are flags, with their tables; empty if an argument names its own."""
_DERIVED_FLAGS = {
    "O_F_CREATED": "created",
    "FD_UPPER_LAYER": "fd.is_upper_layer",
    "FD_LOWER_LAYER": "fd.is_lower_layer",
    "FD_UPPER_LAYER_CREAT": "fd.is_upper_layer",
    "FD_LOWER_LAYER_CREAT": "fd.is_lower_layer",
}
"""Flags that the kernel side derives, with the keys that state them."""


def flags_of(node: Node, key: str, table_name: str) -> int:
    """Parse flag names joined by |, or a number. Raises BadMapping."""
    text = mappings.text(node, key)
    if text[:1].isdigit():
        parse = mappings.octal if table_name in ("chmod_mode", "mknod_mode") else mappings.number
        return parse(node, key) & _U32
    value = 0
    entries = {entry.name: entry for entry in FLAG_TABLES[table_name].entries}
    for name in (part.strip() for part in text.split("|")):
        entry = entries.get(name) or entries.get(name.removeprefix("MS_"))
        if entry is None:
            known = [each.name for each in entries.values() if each.kernel is not None]
            raise BadMapping(f"'{key}' has no flag '{name}'", node, did_you_mean(name, known) or _some(known))
        if entry.kernel is None:
            raise BadMapping(
                f"'{name}' is not a flag that a caller can pass", node, "the kernel side derives it from the file"
            )
        value |= entry.kernel
    return value


def _some(known: list[str]) -> str:
    shown = ", ".join(sorted(known)[:30])
    return f"known are {shown}{' ...' if len(known) > 30 else ''}"


def _user(node: Node, key: str) -> int:
    return 0 if mappings.text(node, key) == "root" else mappings.number(node, key)


def _signal(node: Node, key: str) -> int:
    text = mappings.text(node, key)
    if text in Signals.__members__:
        return Signals[text].value
    if text[:3] == "SIG":
        raise BadMapping(f"unknown signal '{text}'", node, did_you_mean(text, list(Signals.__members__)))
    return mappings.number(node, key)


def _capabilities(node: Node, key: str) -> int:
    text = mappings.text(node, key)
    is_number = text[:1].isdigit()
    return mappings.number(node, key) if is_number else capability_mask(text.replace("|", " ").split(), node)


def _bytes(node: Node, key: str) -> bytes:
    return mappings.text(node, key).encode("utf-8", "surrogateescape")


_PARSERS: Mapping[str, Parse[int | bytes]] = {
    **dict.fromkeys(("i", "pid", "u", "n", *_HEXADECIMAL, "limit", "pair1", "pair2", "age"), mappings.number),
    **dict.fromkeys(("octal", "openmode", "how_mode"), mappings.octal),
    **dict.fromkeys(("uid", "gid"), _user),
    **dict.fromkeys(("string", "data"), _bytes),
    "signal": _signal,
    "cap": _capabilities,
}
"""The kinds of arguments that a test may state, beside flags; others follow from the rest of the event."""


def _value(argument: Argument, node: Node) -> int | bytes:
    if argument.kind in _FLAG_KINDS:
        table = argument.table or _FLAG_KINDS[argument.kind]
        flags = flags_of(node, argument.name, table)
        # The collector converts this machine's numbers to the tables'; the same conversion leads back.
        return common_open_flags(flags) if table == "file_flags" else flags
    return _PARSERS[argument.kind](node, argument.name)


def is_settable(argument: Argument) -> bool:
    """Return whether a test may state an argument."""
    return argument.kind in _FLAG_KINDS or argument.kind in _PARSERS


def written_argument(argument: Argument, text: str) -> dict[str, str]:
    """Return an argument as a caller passes it; flags that the kernel side derives become keys of their own."""
    if argument.kind in _HEXADECIMAL:
        return {argument.name: f"0x{text}"}
    flags = text.split("|")
    found = {key: "true" for flag, key in _DERIVED_FLAGS.items() if flag in flags}
    passed = "|".join(flag for flag in flags if flag not in _DERIVED_FLAGS)
    return found | ({argument.name: passed} if passed else {})


def argument_node(table: MappingReader, argument: Argument) -> Node | None:
    """Return what a test states for an argument, under its own name or as evt.arg."""
    if argument.name == "type" and argument.kind != "string":
        # `type` alone may also be the type of the event.
        return table.get("evt.arg.type", "socket_type")
    return table.get(argument.name, f"evt.arg.{argument.name}")


def read_registers(spec: Call, table: MappingReader) -> tuple[list[int], bytes]:
    """Read the arguments that are numbers, flags or memory, into registers and the call's first memory block.

    Raises BadMapping.
    """
    registers = [0, 0, 0, 0, 0, 0]
    memory: dict[str, Any] = {}
    for argument in spec.arguments:
        if argument.kind == "fd" and argument.index != spec.fd:
            _descriptor_argument(argument, table, registers)
        elif is_settable(argument) and (node := argument_node(table, argument)) is not None:
            value = _value(argument, node)
            if isinstance(value, bytes) or argument.index < 0:
                memory[argument.kind] = value
            elif argument.kind in _IN_MEMORY:
                memory[f"{argument.kind}{argument.index}"] = value
            else:
                registers[argument.index] = value & _U64
    if spec.event in ("setsockopt", "getsockopt") and not registers[1]:
        # Options have names only at SOL_SOCKET, so that is the default.
        registers[1] = 1
    if any(kind.startswith("age") for kind in memory):
        # Times relative to the event's, which is added when it is known.
        words = range(spec.blobs[0][1] // 8)
        return registers, struct.pack(f"<{len(words)}Q", *(-memory.get(f"age{word}", 0) & _U64 for word in words))
    return registers, _block(memory)


def _block(memory: Mapping[str, Any]) -> bytes:
    """Return the call's first memory block; no call has arguments in two of these layouts."""
    for mask, layout, names in _LAYOUTS:
        if memory.keys() & set(names):
            return struct.pack(layout, *(memory.get(name, 0) & mask for name in names))
    sets = [memory.get(f"cap{index}", 0) for index in range(3)]
    if any(name.startswith("cap") for name in memory):
        return struct.pack("<6I", *(each & _U32 for each in sets), *(each >> 32 & _U32 for each in sets))
    return next(iter(memory.values()), b"")


def _descriptor_argument(argument: Argument, table: MappingReader, registers: list[int]) -> None:
    node = argument_node(table, argument)
    is_directory = argument.name.endswith(("dirfd", "olddir", "newdir"))
    value = _AT_FDCWD if is_directory else 0
    if node is not None:
        text = mappings.text(node, argument.name)
        if is_directory and text.startswith("/"):
            value = 5
        elif text != "AT_FDCWD":
            value = mappings.number(node, argument.name)
    registers[argument.index] = value & _U64


def directory_of(spec: Call, which: int, table: MappingReader, cwd: str, path: str | None) -> str | None:
    """Return the directory that a relative path starts from, as the kernel side reports it."""
    if path is None or path.startswith("/") or which >= len(spec.paths):
        return None
    directory = spec.paths[which][1]
    if directory == NONE:
        return None
    argument = next((each for each in spec.arguments if each.kind == "fd" and each.index == directory), None)
    node = None if argument is None else argument_node(table, argument)
    if isinstance(node, ScalarNode) and node.value.startswith("/"):
        return node.value
    return cwd
