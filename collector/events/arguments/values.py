"""The values of arguments, and how numbers are written."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from collector.events.descriptors import Descriptor
from collector.records.types import File, Syscall
from schemas.batch import Process
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
"""Text and number."""
Writer = Callable[[Syscall, Context], Value]
MISSING: Value = (None, 0)
ZERO: Value = ("0", 0)
U32, U64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def signed32(value: int) -> int:
    """Interpret a register's lower half as a C int."""
    value &= U32
    return value - (1 << 32) if value & 0x80000000 else value


def signed64(value: int) -> int:
    """Interpret a register as a C long."""
    value &= U64
    return value - (1 << 64) if value & (1 << 63) else value


def decimal(value: int) -> Value:
    """Write a number."""
    return str(value), value


def octal(mode: int) -> Value:
    """Write permissions, with a leading zero."""
    return (f"0{mode:o}" if mode else "0"), mode


def named(table: str, value: int) -> Value:
    """Write a number by the names of its table: one name, or those of its bits."""
    number = encode_flags(table, value)
    return flag_names(table, number) or str(number), number


def open_flags(file: File | None, flags: int) -> Value:
    """Write the flags of an open, with what Falco adds about the opened file."""
    # Most files are neither new nor on an overlay.
    marks = 0
    if file is not None and (file.is_upper_layer or file.is_lower_layer or file.is_created):
        marks = 32768 * file.is_upper_layer | 65536 * file.is_lower_layer | 16384 * file.is_created
    return _marked_flags(flags & U32, marks)


@lru_cache(maxsize=4096)
def _marked_flags(flags: int, marks: int) -> Value:
    number = encode_flags("file_flags", flags) | marks
    return flag_names("file_flags", number) or str(number), number


def user(number: int, name: Callable[[int], str | None]) -> Value:
    """Write a user or group by its name."""
    if number == -1:
        return "<NONE>", -1
    return name(number & U32) or "<NA>", number & U32


def joined(parts: tuple[str, ...] | None) -> str | None:
    """Write a list of C strings as Falco does, with a dot for each NUL."""
    return None if parts is None else "".join(f"{part}." for part in parts)
