"""Arguments that point to the caller's memory, of which the kernel side copies a part."""

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType

from collector.events.arguments.values import (
    MISSING,
    U32,
    Context,
    Value,
    Writer,
    decimal,
    named,
    octal,
    open_flags,
    signed64,
)
from collector.events.descriptors import socket_address
from collector.records.types import Syscall


def _open_how(field: int, kind: str) -> Writer:
    def write(call: Syscall, _: Context) -> Value:
        if len(call.blob1) < 24:
            return MISSING
        value = struct.unpack_from("<QQQ", call.blob1)[field]
        if kind == "flags":
            return open_flags(call.file, value)
        return octal(value & 0o7777) if kind == "mode" else named("openat2_flags", value & U32)

    return write


def _capability(position: int) -> Writer:
    """Write a capability set; version 3 passes two halves of each: effective, permitted, inheritable."""

    def write(call: Syscall, _: Context) -> Value:
        if len(call.blob1) < 24:
            return MISSING
        words = struct.unpack_from("<6I", call.blob1)
        value = words[position] | words[position + 3] << 32
        return f"{value:X}", signed64(value)

    return write


def _limit(position: int) -> Writer:
    def write(call: Syscall, _: Context) -> Value:
        size = 8 if call.is_compat else 16
        if len(call.blob1) < size:
            return MISSING
        return decimal(struct.unpack_from("<2i" if call.is_compat else "<2q", call.blob1)[position])

    return write


def _uring(position: int) -> Writer:
    return lambda call, _: (
        decimal(struct.unpack_from("<6I", call.blob1)[position]) if len(call.blob1) >= 24 else MISSING
    )


def _uring_flags(position: int, table: str) -> Writer:
    return lambda call, _: (
        named(table, struct.unpack_from("<6I", call.blob1)[position]) if len(call.blob1) >= 24 else MISSING
    )


def _pair(position: int) -> Writer:
    def write(call: Syscall, _: Context) -> Value:
        if len(call.blob1) < 8 or call.result < 0:
            return "-1", -1
        return decimal(struct.unpack_from("<2i", call.blob1)[position])

    return write


def _string(call: Syscall, _: Context) -> Value:
    return (call.blob1.split(b"\0")[0].decode("utf-8", "surrogateescape") if call.blob1 else ""), 0


def _data(call: Syscall, _: Context) -> Value:
    return call.blob1.decode("utf-8", "surrogateescape"), 0


def _address(call: Syscall, _: Context) -> Value:
    found = socket_address(call.blob2)
    if found is None:
        return MISSING
    return (found[0] if found[1] < 0 else f"{found[0]}:{found[1]}"), 0


MEMORY: Mapping[str, Writer] = MappingProxyType({
    "path1": lambda _, context: (context.path1, 0),
    "path2": lambda _, context: (context.path2, 0),
    "pair1": _pair(0),
    "pair2": _pair(1),
    "how_flags": _open_how(0, "flags"),
    "how_mode": _open_how(1, "mode"),
    "how_resolve": _open_how(2, "resolve"),
    "string": _string,
    "data": _data,
    "address": _address,
})  # fmt: skip
"""By kind of argument."""
MEMORY_AT: Mapping[str, Callable[[int], Writer]] = MappingProxyType(
    {"cap": _capability, "limit": _limit, "uring": _uring}
)
"""By kind of argument; the parameter is the position in the structure."""
MEMORY_WITH_TABLE: Mapping[str, Callable[[int, str], Writer]] = MappingProxyType({"uringflags": _uring_flags})
"""By kind of argument; the second parameter names the table of flags."""
