"""What differs between the architectures that the collector runs on, by the names that their modules define."""

import platform
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from collector.kernel import arm64, x86_64


class Architecture(Protocol):
    """A module of one architecture; x86_64 describes the names."""

    NATIVE: dict[int, str]
    COMPAT: dict[int, str]
    TIME64: frozenset[int]
    POINTED: frozenset[int]
    SOCKETCALL: int
    SOCKETCALLS: dict[int, str]
    REGISTERS: dict[str, str]
    CONSTANTS: dict[str, int]
    OLDEST: tuple[int, int]
    OPEN_FLAGS: dict[int, int]


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType({"x86_64": x86_64, "aarch64": arm64})
"""By the name that uname has for the machine."""

HERE: Architecture = ARCHITECTURES.get(platform.machine(), x86_64)
"""This machine's; on one that the collector doesn't run on, rules and recordings still need names."""


def common_open_flags(flags: int, architecture: Architecture = HERE) -> int:
    """Return the flags of an open with the numbers of x86-64, which all tables of flags have."""
    renumbered = architecture.OPEN_FLAGS
    if not renumbered:
        return flags
    return sum(renumbered.get(bit, bit) for bit in (1 << at for at in range(flags.bit_length())) if flags & bit)
