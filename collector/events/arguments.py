"""The arguments of a system call as rules see them: text for evt.arg, Falco's number for evt.rawarg.

Each kind of argument is a small function of the call; the functions of an event type are chosen once, at import.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from errno import errorcode
from functools import lru_cache
from signal import Signals

from collector.events.descriptors import Descriptor, device_number, socket_address
from collector.events.system_calls import CALLS, Argument, Call
from collector.records.types import Syscall
from schemas.batch import Process
from schemas.catalogue.descriptor_types import TYPE_CHARACTERS
from schemas.catalogue.flags import encode_flags
from schemas.catalogue.flags import number_text as flag_names


@dataclass(slots=True)
class Context:
    """Facts that arguments need in addition to the call itself."""

    process: Process
    descriptor: Descriptor | None
    path1: str | None
    """Absolute if the argument is a file's name."""
    path2: str | None
    user_name: Callable[[int], str | None]
    group_name: Callable[[int], str | None]


Value = tuple[str | None, int]
Writer = Callable[[Syscall, Context], Value]
_MISSING: Value = (None, 0)
_ZERO: Value = ("0", 0)
_AT_FDCWD = -100
_WORKING_DIRECTORY: Value = ("AT_FDCWD", _AT_FDCWD)
_U32, _U64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_INT64_MAX = _U64 >> 1
_O_CREAT, _O_TMPFILE = 0o100, 0o20200000
_PR_SET_NAME = 15
_SOCK_FLAGS = 0o2004000
_MOUNT_MAGIC_MASK, _MOUNT_MAGIC = 0xFFFF0000, 0xC0ED0000
_BPF_RETURNING_FD = frozenset({0, 5, 6, 7, 12, 13, 14, 17, 18, 19, 28, 30, 32, 33})


def signed32(value: int) -> int:
    """Interpret a register's lower half as a C int."""
    value &= _U32
    return value - (1 << 32) if value & 0x80000000 else value


def signed64(value: int) -> int:
    """Interpret a register as a C long."""
    value &= _U64
    return value - (1 << 64) if value & (1 << 63) else value


def argument_writers(call: Call) -> tuple[Writer, ...]:
    """Return the writer of each argument of a call, in Falco's order."""
    return tuple(_writer(argument) for argument in call.arguments)


def _writer(argument: Argument) -> Writer:
    if argument.table:
        maker = _MAKERS_WITH_TABLE.get(argument.kind)
        if maker is not None:
            return maker(argument.index, argument.table)
    if argument.index >= 0:
        return _MAKERS[argument.kind](argument.index)
    return _WRITERS[argument.kind]


def _number(value: int) -> Value:
    return str(value), value


def _named(table: str, value: int) -> Value:
    number = encode_flags(table, value)
    return flag_names(table, number) or str(number), number


def _result(call: Syscall, _: Context) -> Value:
    result = call.result
    return (str(result) if result >= 0 else errorcode.get(-result, str(result))), result


def _result_descriptor(call: Syscall, context: Context) -> Value:
    if call.result < 0:
        return _result(call, context)
    label = context.descriptor.label if context.descriptor else ""
    return label or str(call.result), call.result


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
    return lambda call, _: _number(signed32(call.arguments[index]))


def _unsigned(index: int) -> Writer:
    """Write an unsigned long; Falco prints those as signed (libsinsp event.cpp, PT_UINT64)."""
    return lambda call, _: _number(signed64(call.arguments[index]))


def _unsigned_int(index: int) -> Writer:
    """Write what the kernel reads as an int. It ignores the upper half, where a caller may put anything."""
    return lambda call, _: _number(call.arguments[index] & _U32)


def _hexadecimal(index: int) -> Writer:
    return lambda call, _: (f"{call.arguments[index]:X}", signed64(call.arguments[index]))


def _hexadecimal_int(index: int) -> Writer:
    return lambda call, _: (f"{call.arguments[index] & _U32:X}", call.arguments[index] & _U32)


def _octal(index: int) -> Writer:
    return lambda call, _: _octal_value(call.arguments[index] & 0o7777)


def _octal_value(mode: int) -> Value:
    return (f"0{mode:o}" if mode else "0"), mode


def _mode(index: int, table: str) -> Writer:
    return lambda call, _: _named(table, call.arguments[index] & 0o177777)


def _flags(index: int, table: str) -> Writer:
    return lambda call, _: _flags_value(table, call.arguments[index] & _U32)


def _flags_value(table: str, value: int) -> Value:
    number = encode_flags(table, value)
    return flag_names(table, number) or str(number), number


def _open_flags(index: int) -> Writer:
    return lambda call, _: _open_flags_value(call, call.arguments[index])


def _open_flags_value(call: Syscall, flags: int) -> Value:
    file = call.file
    if file is None:
        return _file_flags(flags & _U32, 0)
    # Most files are neither new nor on an overlay.
    marks = 0
    if file.is_upper_layer or file.is_lower_layer or file.is_created:
        marks = 32768 * file.is_upper_layer | 65536 * file.is_lower_layer | 16384 * file.is_created
    return _file_flags(flags & _U32, marks)


@lru_cache(maxsize=4096)
def _file_flags(flags: int, marks: int) -> Value:
    number = encode_flags("file_flags", flags) | marks
    return flag_names("file_flags", number) or str(number), number


def _open_mode(index: int) -> Writer:
    """Write a mode, which counts only if the call may create; the preceding argument holds the flags."""

    def write(call: Syscall, _: Context) -> Value:
        flags = call.arguments[index - 1]
        creates = flags & _O_CREAT or flags & _O_TMPFILE == _O_TMPFILE
        return _octal_value(call.arguments[index] & 0o7777) if creates else _ZERO

    return write


def _open_how(field: int, kind: str) -> Writer:
    def write(call: Syscall, _: Context) -> Value:
        if len(call.blob1) < 24:
            return _MISSING
        value = struct.unpack_from("<QQQ", call.blob1)[field]
        if kind == "flags":
            return _open_flags_value(call, value)
        return _octal_value(value & 0o7777) if kind == "mode" else _flags_value("openat2_flags", value & _U32)

    return write


def _user(index: int) -> Writer:
    return lambda call, context: _user_value(signed32(call.arguments[index]), context.user_name)


def _group(index: int) -> Writer:
    return lambda call, context: _user_value(signed32(call.arguments[index]), context.group_name)


def _user_value(number: int, name: Callable[[int], str | None]) -> Value:
    if number == -1:
        return "<NONE>", -1
    return name(number & _U32) or "<NA>", number & _U32


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
        _flags_value("file_flags", call.arguments[index] & _SOCK_FLAGS)
        if (call.arguments[index] & _SOCK_FLAGS)
        else _ZERO
    )


def _mount_flags(index: int) -> Writer:
    def write(call: Syscall, _: Context) -> Value:
        flags = call.arguments[index] & _U32
        if flags & _MOUNT_MAGIC_MASK == _MOUNT_MAGIC:
            flags &= ~_MOUNT_MAGIC_MASK
        return _flags_value("mount_flags", flags)

    return write


def _socket_option(index: int) -> Writer:
    """Write a socket option. Its name depends on the level; Falco knows those of SOL_SOCKET."""

    def write(call: Syscall, _: Context) -> Value:
        value = signed32(call.arguments[index])
        return _named("sockopt_options", value) if signed32(call.arguments[index - 1]) == 1 else _number(value)

    return write


def _capability(position: int) -> Writer:
    """Write a capability set; version 3 passes two halves of each: effective, permitted, inheritable."""

    def write(call: Syscall, _: Context) -> Value:
        if len(call.blob1) < 24:
            return _MISSING
        words = struct.unpack_from("<6I", call.blob1)
        value = words[position] | words[position + 3] << 32
        return f"{value:X}", signed64(value)

    return write


def _limit(position: int) -> Writer:
    def write(call: Syscall, _: Context) -> Value:
        size = 8 if call.is_compat else 16
        if len(call.blob1) < size:
            return _MISSING
        return _number(struct.unpack_from("<2i" if call.is_compat else "<2q", call.blob1)[position])

    return write


def _uring(position: int) -> Writer:
    return lambda call, _: (
        _number(struct.unpack_from("<6I", call.blob1)[position]) if len(call.blob1) >= 24 else _MISSING
    )


def _uring_flags(position: int, table: str) -> Writer:
    return lambda call, _: (
        _flags_value(table, struct.unpack_from("<6I", call.blob1)[position]) if len(call.blob1) >= 24 else _MISSING
    )


def _pair(position: int) -> Writer:
    def write(call: Syscall, _: Context) -> Value:
        if len(call.blob1) < 8 or call.result < 0:
            return "-1", -1
        number = struct.unpack_from("<2i", call.blob1)[position]
        return str(number), number

    return write


def _string(call: Syscall, _: Context) -> Value:
    return (call.blob1.split(b"\0")[0].decode("utf-8", "surrogateescape") if call.blob1 else ""), 0


def _data(call: Syscall, _: Context) -> Value:
    return call.blob1.decode("utf-8", "surrogateescape"), 0


def _address(call: Syscall, _: Context) -> Value:
    found = socket_address(call.blob2)
    if found is None:
        return _MISSING
    return (found[0] if found[1] < 0 else f"{found[0]}:{found[1]}"), 0


def _tuple(_: Syscall, context: Context) -> Value:
    own = context.descriptor
    return (own.name or "NULL" if own is not None else "NULL"), 0


def _layer(call: Syscall, _: Context) -> Value:
    number = 0 if call.file is None else call.file.is_upper_layer + 2 * call.file.is_lower_layer
    return flag_names("creat_flags", number) or str(number), number


def _device(call: Syscall, _: Context) -> Value:
    return _device_value(call.file.dev) if call.file else _ZERO


@lru_cache(maxsize=1024)
def _device_value(kernel_number: int) -> Value:
    number = device_number(kernel_number)
    return f"{number:X}", number


def _inode(call: Syscall, _: Context) -> Value:
    if call.file is None:
        return _ZERO
    number = call.file.ino
    return str(number), number if number <= _INT64_MAX else signed64(number)


def _bpf_descriptor(call: Syscall, context: Context) -> Value:
    returns_descriptor = call.result >= 0 and signed32(call.arguments[0]) in _BPF_RETURNING_FD
    return (f"<{TYPE_CHARACTERS['bpf']}>", call.result) if returns_descriptor else _result(call, context)


def _clone_arguments(call: Syscall, _: Context) -> Value:
    if len(call.blob1) < 8:
        return _MISSING
    return _flags_value("clone_flags", int.from_bytes(call.blob1[:8], "little") & _U32)


def _prctl_number(call: Syscall, _: Context) -> Value:
    return _number(0 if signed32(call.arguments[0]) == _PR_SET_NAME else signed64(call.arguments[1]))


def joined(parts: tuple[str, ...] | None) -> str | None:
    """Write a list of C strings as Falco does, with a dot for each NUL."""
    return None if parts is None else "".join(f"{part}." for part in parts)


def _own_number(number: int | None) -> Value:
    return _MISSING if number is None else _number(number)


_WRITERS: dict[str, Writer] = {
    "exe": lambda _, context: (context.process.exe, 0),
    "args": lambda _, context: (joined(context.process.args), 0),
    "cwd": lambda _, context: (context.process.cwd, 0),
    "comm": lambda _, context: (context.process.name, 0),
    "tid": lambda call, _: _number(call.who.tid),
    "own_pid": lambda _, context: _number(context.process.pid),
    "ppid": lambda _, context: _own_number(context.process.ppid),
    "own_uid": lambda _, context: _own_number(context.process.uid),
    "own_gid": lambda _, context: _own_number(context.process.gid),
    "vtid": lambda call, _: _number(call.vtid),
    "vpid": lambda _, context: _own_number(context.process.vpid),
    "res": _result,
    "pidres": _result,
    "hexres": lambda call, _: (f"{call.result & _U64:X}", call.result),
    "rfd": _result_descriptor,
    "path1": lambda _, context: (context.path1, 0),
    "path2": lambda _, context: (context.path2, 0),
    "pair1": _pair(0),
    "pair2": _pair(1),
    "kernel_path": lambda call, _: (call.file.path if call.file else None, 0),
    "how_flags": _open_how(0, "flags"),
    "how_mode": _open_how(1, "mode"),
    "how_resolve": _open_how(2, "resolve"),
    "string": _string,
    "data": _data,
    "address": _address,
    "tuple": _tuple,
    "layer": _layer,
    "dev": _device,
    "ino": _inode,
    "none": lambda _call, _context: _MISSING,
    "zero": lambda _call, _context: _ZERO,
    "bpffd": _bpf_descriptor,
    "clone_args": _clone_arguments,
    "prctl_number": _prctl_number,
    "uidres": lambda call, context: _user_value(signed32(call.result), context.user_name),
    "gidres": lambda call, context: _user_value(signed32(call.result), context.group_name),
}
_MAKERS: dict[str, Callable[[int], Writer]] = {
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
}
_MAKERS_WITH_TABLE: dict[str, Callable[[int, str], Writer]] = {
    "flags": _flags,
    "enum": lambda index, table: lambda call, _: _named(table, signed32(call.arguments[index])),
    "mode": _mode,
    "uringflags": _uring_flags,
}


_ALL_WRITERS = tuple(argument_writers(call) for call in CALLS)
_ALL_NAMES = tuple(tuple(argument.name for argument in call.arguments) for call in CALLS)


def writers_of(number: int) -> tuple[Writer, ...]:
    """Return the argument writers of a call by its index in CALLS."""
    return _ALL_WRITERS[number]


def argument_names(number: int) -> tuple[str, ...]:
    """Return the names of a call's arguments by its index in CALLS."""
    return _ALL_NAMES[number]
