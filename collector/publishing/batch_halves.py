"""Divides a batch that is too large to be sent.

The parts share the batch's sequence number, so none of them looks like a gap, and their events keep their numbers and
indices within the whole: however a batch is divided, its alerts get the same ids.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from schemas.batch import EventBatch, Process
from schemas.columns import ARGUMENT_COLUMNS, EVENT_COLUMNS, STRING_COLUMNS

_TEXT_COLUMNS = (*STRING_COLUMNS, "arg_name", "arg_value")
_NO_NEWS: Mapping[str, Any] = {"lost": {}, "watched": [], "narrowed": [], "interest": b""}
"""What a batch reports in addition to events; only one part carries it."""


def halves(batch: EventBatch) -> tuple[EventBatch, EventBatch] | None:
    """Divide a batch in two, each with the processes, containers and texts that it needs.

    For a single event, its other reports go into the second part. Return None if nothing is left to divide.
    """
    if batch.count > 1:
        middle = batch.count // 2
        return _part(batch, 0, middle), replace(_part(batch, middle, batch.count), **_NO_NEWS)
    if batch.count and any((batch.lost, batch.watched, batch.narrowed, batch.interest)):
        return replace(_part(batch, 0, 1), **_NO_NEWS), _part(batch, 1, 1)
    return None


def _part(batch: EventBatch, first: int, end: int) -> EventBatch:
    columns: dict[str, Sequence[int]] = {name: batch.columns[name][first:end] for name in EVENT_COLUMNS}
    starts = batch.columns["arg_start"][first : end + 1]
    columns["arg_start"] = array("I", [start - starts[0] for start in starts])
    for name in ARGUMENT_COLUMNS:
        if name != "arg_start":
            columns[name] = batch.columns[name][starts[0] : starts[-1]]
    rows = _sorted(_rows_needed(batch.processes, columns["process"]))
    containers = _sorted(batch.processes[row].container for row in rows if batch.processes[row].container >= 0)
    texts = _sorted({0}.union(*(columns[name] for name in _TEXT_COLUMNS)))
    columns["process"] = array(EVENT_COLUMNS["process"], [rows[row] for row in columns["process"]])
    for name in _TEXT_COLUMNS:
        columns[name] = array("i", [texts[index] for index in columns[name]])
    return replace(
        batch,
        first_number=batch.first_number + first,
        first_index=batch.first_index + first,
        count=end - first,
        strings=[batch.strings[index] for index in texts],
        processes=[_moved(batch.processes[row], rows, containers) for row in rows],
        containers=[batch.containers[row] for row in containers],
        columns=columns,
    )


def _sorted(found: Iterable[int]) -> dict[int, int]:
    """Return the indices, sorted, with their positions."""
    return {index: position for position, index in enumerate(sorted(set(found)))}


def _rows_needed(processes: Sequence[Process], own: Iterable[int]) -> set[int]:
    needed = set(own)
    # A row comes after the rows that it refers to.
    for row in range(max(needed, default=-1), -1, -1):
        if row in needed:
            process = processes[row]
            needed.update((process.parent, process.session_leader, process.group_leader))
    needed.discard(-1)
    return needed


def _moved(process: Process, rows: Mapping[int, int], containers: Mapping[int, int]) -> Process:
    return replace(
        process,
        container=containers.get(process.container, -1),
        parent=rows.get(process.parent, -1),
        session_leader=rows.get(process.session_leader, -1),
        group_leader=rows.get(process.group_leader, -1),
    )
