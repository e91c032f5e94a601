"""Flag and enumeration tables: from the kernel's numbers to the names that rules use.

Falco renumbers many of the kernel's flags so that a number means the same on every architecture. So a value has three
forms: the kernel's number, Falco's number (evt.rawarg), and text (evt.arg).
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

TYPE_CHARACTERS = {
    "file": "f",
    "directory": "d",
    "ipv4": "4",
    "ipv6": "6",
    "unix": "u",
    "pipe": "p",
    "fifo": "p",
    "event": "e",
    "signalfd": "s",
    "eventpoll": "l",
    "inotify": "i",
    "timerfd": "t",
    "netlink": "n",
    "bpf": "b",
    "userfaultfd": "u",
    "io_uring": "r",
    "memfd": "m",
    "pidfd": "P",
    "unsupported": "x",
}
"""fd.typechar by fd.type."""


@dataclass(frozen=True, slots=True)
class FlagEntry:
    """One name of a table and its two numbers."""

    name: str
    number: int
    """Falco's number, as in evt.rawarg."""
    kernel: int | None
    """The kernel's number (Linux uapi headers, x86-64); None if the kernel has no such flag."""
    mask: int
    """The bits of the kernel's number that are compared with ``kernel``."""
    any_bit: bool
    """True if one of the bits is enough: Falco's driver tests some flags of several bits that way."""


@dataclass(frozen=True, slots=True)
class FlagTable:
    """A table and how its numbers combine: those of ``flags`` are bits, those of the other kinds are single values."""

    name: str
    kind: Literal["flags", "enum", "choice"]
    entries: tuple[FlagEntry, ...]
    """In the order in which the names are joined."""


def _entry(name: str, number: int, kernel: int | None, mask: int | str | None = None) -> FlagEntry:
    bits = mask if isinstance(mask, int) else (kernel or 0)
    return FlagEntry(name, number, kernel, bits, mask == "any")


def _tables() -> dict[str, FlagTable]:
    data = json.loads(Path(__file__).parents[1].joinpath("catalogue_flags.json").read_text(encoding="utf-8"))
    return {
        name: FlagTable(name, table["kind"], tuple(_entry(*row) for row in table["entries"]))
        for name, table in data.items()
    }


FLAG_TABLES = MappingProxyType(_tables())
"""Every table, by its name in the event table."""


@lru_cache(maxsize=65536)
def encode_flags(table: str, value: int) -> int:
    """Convert the kernel's number to Falco's; drop unknown bits, and return 0 for an unknown choice.

    Raises:
        KeyError: there is no table of this name, as in a parameter's ``info``.
    """
    spec = FLAG_TABLES[table]
    if spec.kind != "flags":
        for entry in spec.entries:
            if entry.kernel == value:
                return entry.number
        unknown = next((entry for entry in spec.entries if entry.name.endswith("UNKNOWN")), None)
        return value if unknown is None and spec.kind == "enum" else unknown.number if unknown else 0
    number = 0
    for entry in spec.entries:
        if entry.kernel is None:
            continue
        if entry.any_bit:
            hit = bool(value & entry.mask)
        elif entry.mask:
            hit = value & entry.mask == entry.kernel
        else:
            hit = value == 0
        if hit:
            number |= entry.number
    return number


@lru_cache(maxsize=65536)
def number_text(table: str, number: int) -> str:
    """Return the names for Falco's number, as in evt.rawarg, joined by ``|`` in the table's order; "" if none applies.

    Raises:
        KeyError: there is no such table.

    Source: libsinsp event.cpp, get_param_as_str.
    """
    spec = FLAG_TABLES[table]
    if spec.kind == "enum":
        return "|".join(entry.name for entry in spec.entries if entry.number == number)
    names = []
    left = number
    for entry in spec.entries:
        if entry.number == number:
            names.append(entry.name)
            break
        if entry.number and left & entry.number == entry.number:
            names.append(entry.name)
            left &= ~entry.number
    return "|".join(names)


def flags_text(table: str, value: int) -> str:
    """Return the names for the kernel's number, for example ``O_RDONLY|O_CLOEXEC`` for 0o2000000.

    Raises:
        KeyError: there is no such table.
    """
    return number_text(table, encode_flags(table, value))
