"""Writers of the arguments of system calls, from registers, memory and results. Each function makes one for a call."""

import struct
from collections.abc import Callable, Mapping
from errno import errorcode
from functools import lru_cache
from signal import Signals

from collector.events.system_calls import CALLS, Argument
from collector.events.texts import (
    MISSING,
    U32,
    U64,
    ZERO,
    Context,
    Value,
    Writer,
    decimal,
    device_number,
    joined,
    named,
    octal,
    open_flags,
    signed32,
    signed64,
    socket_address,
    user,
)
from collector.kernel.architecture import HERE
from collector.records.types import Syscall
from schemas.catalog.flags import TYPE_CHARACTERS
from schemas.catalog.flags import number_text as flag_names

_INT64_MAX = U64 >> 1
_PR_SET_NAME = 15
_MAX_DATA = 80
"""Falco's default snaplen, bytes."""
_BPF_RETURNING_FD = frozenset({0, 5, 6, 7, 12, 13, 14, 17, 18, 19, 28, 30, 32, 33})


def _result(call: Syscall, _: Context) -> Value:
    result = call.result
    return (str(result) if result >= 0 else errorcode.get(-result, str(result))), result


def _result_descriptor(call: Syscall, context: Context) -> Value:
    if call.result < 0:
        return _result(call, context)
    label = context.descriptor.label if context.descriptor else ""
    return label or str(call.result), call.result


def _bpf_descriptor(call: Syscall, context: Context) -> Value:
    returns_descriptor = call.result >= 0 and signed32(call.arguments[0]) in _BPF_RETURNING_FD
    return (f"<{TYPE_CHARACTERS['bpf']}>", call.result) if returns_descriptor else _result(call, context)


def _tuple(_: Syscall, context: Context) -> Value:
    own = context.descriptor
    return (own.name or "NULL" if own is not None else "NULL"), 0


def _layer(call: Syscall, _: Context) -> Value:
    number = 0 if call.file is None else call.file.is_upper_layer + 2 * call.file.is_lower_layer
    return flag_names("creat_flags", number) or str(number), number


def _created(call: Syscall, _: Context) -> Value:
    return decimal(int(call.file is not None and call.file.is_created))


def _device(call: Syscall, _: Context) -> Value:
    return _device_value(call.file.dev) if call.file else ZERO


@lru_cache(maxsize=1024)
def _device_value(kernel_number: int) -> Value:
    number = device_number(kernel_number)
    return f"{number:X}", number


def _inode(call: Syscall, _: Context) -> Value:
    if call.file is None:
        return ZERO
    number = call.file.ino
    return str(number), number if number <= _INT64_MAX else signed64(number)


def _prctl_number(call: Syscall, _: Context) -> Value:
    return decimal(0 if signed32(call.arguments[0]) == _PR_SET_NAME else signed64(call.arguments[1]))


def _known(number: int | None) -> Value:
    return MISSING if number is None else decimal(number)


_FACTS: Mapping[str, Writer] = {
    "res": _result,
    "pidres": _result,
    "hexres": lambda call, _: (f"{call.result & U64:X}", call.result),
    "rfd": _result_descriptor,
    "bpffd": _bpf_descriptor,
    "uidres": lambda call, context: user(signed32(call.result), context.user_name),
    "gidres": lambda call, context: user(signed32(call.result), context.group_name),
    "prctl_number": _prctl_number,
    "kernel_path": lambda call, _: (call.file.path if call.file else None, 0),
    "tuple": _tuple,
    "layer": _layer,
    "created": _created,
    "dev": _device,
    "ino": _inode,
    "exe": lambda _, context: (context.process.exe, 0),
    "args": lambda _, context: (joined(context.process.args), 0),
    "cwd": lambda _, context: (context.process.cwd, 0),
    "comm": lambda _, context: (context.process.name, 0),
    "tid": lambda call, _: decimal(call.who.tid),
    "own_pid": lambda _, context: decimal(context.process.pid),
    "ppid": lambda _, context: _known(context.process.ppid),
    "own_uid": lambda _, context: _known(context.process.uid),
    "own_gid": lambda _, context: _known(context.process.gid),
    "vtid": lambda call, _: decimal(call.vtid),
    "vpid": lambda _, context: _known(context.process.vpid),
    "none": lambda _call, _context: MISSING,
    "zero": lambda _call, _context: ZERO,
}


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


_NANOSECONDS = 10**9
_UTIME_NOW, _UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2


def _age(position: int) -> Writer:
    """Write by how many seconds a time that was set is before the event; without one, files get the present time."""

    def write(call: Syscall, context: Context) -> Value:
        size = 4 if call.is_compat and len(call.blob1) < 32 else 8
        starts = range(0, len(call.blob1) - size + 1, size)
        words = [int.from_bytes(call.blob1[at : at + size], "little", signed=True) for at in starts]
        if len(words) <= position:
            return MISSING if call.blob1 else ZERO
        if len(words) == 4 and words[position + 1] in (_UTIME_NOW, _UTIME_OMIT):
            return ZERO if words[position + 1] == _UTIME_NOW else MISSING
        return decimal(min(context.time // _NANOSECONDS - words[position], _INT64_MAX))

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


def data_text(call: Syscall) -> str:
    """Return the data that was read or written, of which Falco shows the beginning."""
    return call.blob1[:_MAX_DATA].decode("utf-8", "surrogateescape")


def _data(call: Syscall, _: Context) -> Value:
    return data_text(call), 0


def _address(call: Syscall, _: Context) -> Value:
    found = socket_address(call.blob2)
    if found is None:
        return MISSING
    return (found[0] if found[1] < 0 else f"{found[0]}:{found[1]}"), 0


_OF_CALL: Mapping[str, Writer] = {
    **_FACTS,
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
}
"""By kind of argument."""


_AT_FDCWD = -100
_WORKING_DIRECTORY: Value = ("AT_FDCWD", _AT_FDCWD)
_O_CREAT, _O_TMPFILE = 0o100, HERE.CONSTANTS["N_TMPFILE"]
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
    """Write a mode, which counts only if the call may create; the flags are the preceding argument."""

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


_AT_INDEX: Mapping[str, Callable[[int], Writer]] = {
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
    "cap": _capability,
    "limit": _limit,
    "uring": _uring,
    "age": _age,
}
"""By kind of argument; the parameter is a register, or for the last four the position in the memory that was read."""
_WITH_TABLE: Mapping[str, Callable[[int, str], Writer]] = {
    "flags": _flags,
    "enum": _enumerated,
    "mode": _mode,
    "uringflags": _uring_flags,
}
"""Likewise; the second parameter names the table of flags."""


def _writer(argument: Argument) -> Writer:
    if argument.table and argument.kind in _WITH_TABLE:
        return _WITH_TABLE[argument.kind](argument.index, argument.table)
    if argument.index >= 0:
        return _AT_INDEX[argument.kind](argument.index)
    return _OF_CALL[argument.kind]


WRITERS = tuple(tuple(_writer(argument) for argument in call.arguments) for call in CALLS)
"""The writers of a call's arguments in Falco's order, by the call's index in CALLS."""
NAMES = tuple(tuple(argument.name for argument in call.arguments) for call in CALLS)
"""The names of these arguments."""
