"""Arguments that the caller doesn't pass: the result, and facts of the file, the descriptor and the process."""

from collections.abc import Mapping
from errno import errorcode
from functools import lru_cache
from types import MappingProxyType

from collector.events.arguments.values import (
    MISSING,
    U64,
    ZERO,
    Context,
    Value,
    Writer,
    decimal,
    joined,
    signed32,
    signed64,
    user,
)
from collector.events.descriptors import device_number
from collector.records.types import Syscall
from schemas.catalogue.descriptor_types import TYPE_CHARACTERS
from schemas.catalogue.flags import number_text as flag_names

_INT64_MAX = U64 >> 1
_PR_SET_NAME = 15
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


FACTS: Mapping[str, Writer] = MappingProxyType({
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
})  # fmt: skip
"""By kind of argument."""
