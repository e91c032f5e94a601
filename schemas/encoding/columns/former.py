"""Read the tables of texts and processes of earlier releases: an array of bytes, and an array of records."""

from collections.abc import Sequence
from typing import Any

from schemas.batch import Process
from schemas.encoding.batch_limits import MAX_PROCESS_CHARACTERS, check_joined, is_clock
from schemas.encoding.columns.processes import LISTS, NULLABLE, SURE, TEXTS, TIMES
from schemas.encoding.columns.texts import MAX_TEXT_BYTES, MAX_TEXTS

_NUMBERS = (*NULLABLE, *SURE)
_TEXTS = tuple(name for name in TEXTS if name != "codepath")
_UNSIGNED = tuple(name for name, code in NULLABLE.items() if code == "Q")
"""Avro has no unsigned long, but an inode number of an overlay or FUSE file system may use all 64 bits."""


def former_strings(found: Sequence[bytes]) -> list[str | None]:
    """Return the texts by index, None at index 0. Raises ValueError if there are too many or one is too long."""
    if not 0 < len(found) <= MAX_TEXTS:
        raise ValueError(f"{len(found)} strings in one batch")
    if max(map(len, found)) > MAX_TEXT_BYTES:
        raise ValueError(f"a text of {max(map(len, found))} bytes")
    strings: list[str | None] = [None]
    strings += [text.decode("utf-8", "surrogateescape") for text in found[1:]]
    return strings


def former_processes(rows: Sequence[dict[str, Any]], strings: Sequence[str | None], containers: int) -> list[Process]:
    """Return the rows of processes. Raises ValueError or IndexError if one refers outside its tables."""
    return [_process(row, index, strings, containers) for index, row in enumerate(rows)]


def text_at(strings: Sequence[str | None], index: int) -> str | None:
    """Return one text. Raises IndexError if there is none."""
    if index < 0:
        raise IndexError(f"string {index} is outside the table")
    return strings[index]


def texts_at(strings: Sequence[str | None], indices: Sequence[int] | None) -> tuple[str, ...] | None:
    """Return several texts, or None for None. Raises IndexError if one does not exist."""
    return None if indices is None else tuple(text_at(strings, index) or "" for index in indices)


def _process(row: dict[str, Any], index: int, strings: Sequence[str | None], containers: int) -> Process:
    if not (-1 <= row["parent"] < index and -1 <= row["container"] < containers):
        raise ValueError(f"process {index} points outside its tables")
    if not (-1 <= row["session_leader"] <= index and -1 <= row["group_leader"] <= index):
        raise ValueError(f"process {index} has a leader outside its table")
    facts: dict[str, Any] = {name: row[name] for name in _NUMBERS}
    if not all(is_clock(facts[name] or 0) for name in TIMES):
        raise ValueError(f"process {index} has a timestamp out of range")
    for name in _UNSIGNED:
        if (facts[name] or 0) < 0:
            facts[name] += 1 << 64
    for name in _TEXTS:
        facts[name] = text_at(strings, row[name])
    for name in LISTS:
        facts[name] = texts_at(strings, row[name])
        check_joined(name, facts[name] or (), MAX_PROCESS_CHARACTERS)
    return Process(**facts)
