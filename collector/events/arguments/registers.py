"""Arguments that are passed in a register. Each function makes the writer of the register at an index."""

from collections.abc import Callable, Mapping
from signal import Signals
from types import MappingProxyType

from collector.events.arguments.values import (
    U32,
    ZERO,
    Context,
    Value,
    Writer,
    decimal,
    named,
    octal,
    open_flags,
    signed32,
    signed64,
    user,
)
from collector.records.types import Syscall

_AT_FDCWD = -100
_WORKING_DIRECTORY: Value = ("AT_FDCWD", _AT_FDCWD)
_O_CREAT, _O_TMPFILE = 0o100, 0o20200000
_SOCK_FLAGS = 0o2004000
_MOUNT_MAGIC_MASK, _MOUNT_MAGIC = 0xFFFF0000, 0xC0ED0000


def _descriptor(index: int) -> Writer:
    def write(call: Syscall, context: Context) -> Value:
        number = signed32(call.arguments[index])
        if number == _AT_FDCWD:
            return _WORKING_DIRECTORY
        own = context.descriptor
        label = own.label if own is not None and own.number == number else ""
        return label or str(number), number

    return write


def _signed(index: int) -> Writer:
    return lambda call, _: decimal(signed32(call.arguments[index]))


def _unsigned(index: int) -> Writer:
    """Write an unsigned long; Falco prints those as signed (libsinsp event.cpp, PT_UINT64)."""
    return lambda call, _: decimal(signed64(call.arguments[index]))


def _unsigned_int(index: int) -> Writer:
    """Write what the kernel reads as an int. It ignores the upper half, where a caller may put anything."""
    return lambda call, _: decimal(call.arguments[index] & U32)


def _hexadecimal(index: int) -> Writer:
    return lambda call, _: (f"{call.arguments[index]:X}", signed64(call.arguments[index]))


def _hexadecimal_int(index: int) -> Writer:
    return lambda call, _: (f"{call.arguments[index] & U32:X}", call.arguments[index] & U32)


def _octal(index: int) -> Writer:
    return lambda call, _: octal(call.arguments[index] & 0o7777)


def _mode(index: int, table: str) -> Writer:
    return lambda call, _: named(table, call.arguments[index] & 0o177777)


def _flags(index: int, table: str) -> Writer:
    return lambda call, _: named(table, call.arguments[index] & U32)


def _enumerated(index: int, table: str) -> Writer:
    return lambda call, _: named(table, signed32(call.arguments[index]))


def _open_flags(index: int) -> Writer:
    return lambda call, _: open_flags(call.file, call.arguments[index])


def _open_mode(index: int) -> Writer:
    """Write a mode, which counts only if the call may create; the preceding argument holds the flags."""

    def write(call: Syscall, _: Context) -> Value:
        flags = call.arguments[index - 1]
        creates = flags & _O_CREAT or flags & _O_TMPFILE == _O_TMPFILE
        return octal(call.arguments[index] & 0o7777) if creates else ZERO

    return write


def _user(index: int) -> Writer:
    return lambda call, context: user(signed32(call.arguments[index]), context.user_name)


def _group(index: int) -> Writer:
    return lambda call, context: user(signed32(call.arguments[index]), context.group_name)


def _signal(index: int) -> Writer:
    def write(call: Syscall, _: Context) -> Value:
        number = signed32(call.arguments[index])
        try:
            return Signals(number).name, number
        except ValueError:
            return str(number), number

    return write


def _socket_flags(index: int) -> Writer:
    return lambda call, _: (
        named("file_flags", call.arguments[index] & _SOCK_FLAGS) if (call.arguments[index] & _SOCK_FLAGS) else ZERO
    )


def _mount_flags(index: int) -> Writer:
    def write(call: Syscall, _: Context) -> Value:
        flags = call.arguments[index] & U32
        if flags & _MOUNT_MAGIC_MASK == _MOUNT_MAGIC:
            flags &= ~_MOUNT_MAGIC_MASK
        return named("mount_flags", flags)

    return write


def _socket_option(index: int) -> Writer:
    """Write a socket option. Its name depends on the level; Falco knows those of SOL_SOCKET."""

    def write(call: Syscall, _: Context) -> Value:
        value = signed32(call.arguments[index])
        return named("sockopt_options", value) if signed32(call.arguments[index - 1]) == 1 else decimal(value)

    return write


REGISTERS: Mapping[str, Callable[[int], Writer]] = MappingProxyType({
    "fd": _descriptor,
    "i": _signed,
    "pid": _signed,
    "u": _unsigned,
    "n": _unsigned_int,
    "hex": _hexadecimal,
    "x": _hexadecimal_int,
    "octal": _octal,
    "openflags": _open_flags,
    "openmode": _open_mode,
    "uid": _user,
    "gid": _group,
    "signal": _signal,
    "socketflags": _socket_flags,
    "mountflags": _mount_flags,
    "sockopt": _socket_option,
})  # fmt: skip
"""By kind of argument."""
REGISTERS_WITH_TABLE: Mapping[str, Callable[[int, str], Writer]] = MappingProxyType(
    {"flags": _flags, "enum": _enumerated, "mode": _mode}
)
"""By kind of argument; the second parameter names the table of flags."""
