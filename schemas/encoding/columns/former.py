"""Tables of texts and processes in the layout before columns: an array of bytes, and an array of records."""

from collections.abc import Sequence
from typing import Any

from schemas.batch import Process
from schemas.encoding.batch_limits import MAX_PROCESS_CHARACTERS, check_joined, is_clock
from schemas.encoding.columns.processes import LISTS, NULLABLE, SURE, TEXTS, TIMES
from schemas.encoding.columns.texts import MAX_TEXT_BYTES, MAX_TEXTS

_NUMBERS = (*NULLABLE, *SURE)
_UNSIGNED = tuple(name for name, code in NULLABLE.items() if code == "Q")
"""Avro knows no unsigned long; what an overlay or FUSE file system calls an inode may need all 64 bits."""


def former_strings(found: Sequence[bytes]) -> list[str | None]:
    """Give the texts by index, None for index 0; raises ValueError."""
    if not 0 < len(found) <= MAX_TEXTS:
        raise ValueError(f"{len(found)} strings in one batch")
    if max(map(len, found)) > MAX_TEXT_BYTES:
        raise ValueError(f"a text of {max(map(len, found))} bytes")
    strings: list[str | None] = [None]
    strings += [text.decode("utf-8", "surrogateescape") for text in found[1:]]
    return strings


def former_processes(rows: Sequence[dict[str, Any]], strings: Sequence[str | None], containers: int) -> list[Process]:
    """Give the rows of processes; raises ValueError or IndexError where one points outside its tables."""
    return [_process(row, index, strings, containers) for index, row in enumerate(rows)]


def text_at(strings: Sequence[str | None], index: int) -> str | None:
    """Give one text; raises IndexError where there is none."""
    if index < 0:
        raise IndexError(f"string {index} is outside the table")
    return strings[index]


def texts_at(strings: Sequence[str | None], indices: Sequence[int] | None) -> tuple[str, ...] | None:
    """Give several texts, or None; raises IndexError where one is not there."""
    return None if indices is None else tuple(text_at(strings, index) or "" for index in indices)


def _process(row: dict[str, Any], index: int, strings: Sequence[str | None], containers: int) -> Process:
    if not (-1 <= row["parent"] < index and -1 <= row["container"] < containers):
        raise ValueError(f"process {index} points outside its tables")
    if not (-1 <= row["session_leader"] <= index and -1 <= row["group_leader"] <= index):
        raise ValueError(f"process {index} is led from outside its table")
    facts: dict[str, Any] = {name: row[name] for name in _NUMBERS}
    if not all(is_clock(facts[name] or 0) for name in TIMES):
        raise ValueError(f"process {index} has a time that no clock shows")
    for name in _UNSIGNED:
        if (facts[name] or 0) < 0:
            facts[name] += 1 << 64
    for name in TEXTS:
        facts[name] = text_at(strings, row[name])
    for name in LISTS:
        facts[name] = texts_at(strings, row[name])
        check_joined(name, facts[name] or (), MAX_PROCESS_CHARACTERS)
    return Process(**facts)
