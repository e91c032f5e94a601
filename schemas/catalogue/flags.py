"""Flag and enumeration tables: from the kernel's numbers to the names that rules ask for.

Falco renumbers many of the kernel's flags so that one number means the same on every architecture.
Three forms exist of a value: the kernel's number, Falco's number (evt.rawarg), and text (evt.arg).
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True, slots=True)
class FlagEntry:
    """One name of a table with its two numbers."""

    name: str
    number: int
    """Falco's number, as evt.rawarg shows it."""
    kernel: int | None
    """The kernel's number (Linux uapi headers, x86-64); None where the kernel has no such flag."""
    mask: int
    """The kernel bits that are compared with ``kernel``."""
    any_bit: bool
    """One of the bits is enough: Falco's driver tests some flags of several bits that way."""


@dataclass(frozen=True, slots=True)
class FlagTable:
    """A table and how its numbers combine: ``flags`` or together, the others name one value."""

    name: str
    kind: Literal["flags", "enum", "choice"]
    entries: tuple[FlagEntry, ...]
    """In the order in which names are joined."""


def _entry(name: str, number: int, kernel: int | None, mask: int | str | None = None) -> FlagEntry:
    bits = mask if isinstance(mask, int) else (kernel or 0)
    return FlagEntry(name, number, kernel, bits, mask == "any")


def _tables() -> dict[str, FlagTable]:
    data = json.loads(files("schemas").joinpath("catalogue_flags.json").read_text(encoding="utf-8"))
    return {
        name: FlagTable(name, table["kind"], tuple(_entry(*row) for row in table["entries"]))
        for name, table in data.items()
    }


FLAG_TABLES = MappingProxyType(_tables())
"""Every table by its name in the event table."""


@lru_cache(maxsize=65536)
def encode_flags(table: str, value: int) -> int:
    """Turn the kernel's number into Falco's; unknown bits are dropped, an unknown choice becomes 0.

    Args:
        table: name of the table, as in a parameter's ``info``.
        value: the number that the system call had, as it was.

    Raises:
        KeyError: there is no such table.
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
    """Give the names behind Falco's number, joined by ``|`` in the table's order; "" where none fits.

    Args:
        table: name of the table.
        number: Falco's number, as evt.rawarg shows it.

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
    """Give the text of a kernel's number, for example ``O_RDONLY|O_CLOEXEC`` for 0o2000000.

    Args:
        table: name of the table, as in a parameter's ``info``.
        value: the kernel's number.

    Raises:
        KeyError: there is no such table.
    """
    return number_text(table, encode_flags(table, value))


enum_text = flags_text
"""The same for a table whose numbers name one value each."""
