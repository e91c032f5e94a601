"""Makes event batches of rows again: fields have the values that they had before.

Processes, containers and texts that no event refers to are left out; the others get new numbers in the same order.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lanner.archive.rows import ArchivedBatch
from lanner.archive.schema import (
    BATCHES,
    CONTAINER,
    EVENT_TEXTS,
    HEAD_LISTS,
    HEAD_NUMBERS,
    HEAD_TEXTS,
    IDENTITY,
    MISSING_NUMBERS,
    NUMBERS,
    PROCESS,
    SERVER_LISTS,
    archived_text,
    restored_text,
)
from lanner.recorder.store import StoredBatch
from schemas.batch import (
    ARGUMENT_COLUMNS,
    EVENT_COLUMNS,
    Container,
    EventBatch,
    Mount,
    NetworkServer,
    Process,
    ProgramFile,
    empty_columns,
)
from schemas.encoding.columns import LISTS, MARKS, SERVER
from schemas.encoding.limits import TextTable

_ROWS = ("parent", "session_leader", "group_leader")
_PLACE = ("appended", "partition", "offset")


def head_rows(batches: Sequence[ArchivedBatch]) -> pa.Table:
    """Return the rows of batches: what their headers state."""
    rows = []
    for each in batches:
        stored, batch = each.stored, each.stored.batch
        row = {name: getattr(batch, name) for name in (*IDENTITY, *HEAD_TEXTS, *HEAD_NUMBERS, *HEAD_LISTS)}
        row |= {"appended": stored.appended, "partition": each.partition, "offset": each.offset}
        row |= {"correction": stored.offset, "size": stored.size, "count": batch.count, "total": batch.total}
        row |= {"cpu_seconds": batch.cpu_seconds, "interest": batch.interest, "stopping": batch.stopping}
        row["lost"] = [{"reason": archived_text(name), "count": number} for name, number in batch.lost.items()]
        rows.append({name: _archived(value) for name, value in row.items()})
    return pa.Table.from_pylist(rows, schema=BATCHES)


def _archived(value: Any) -> Any:
    if isinstance(value, str):
        return archived_text(value)
    return [_archived(each) for each in value] if isinstance(value, list) else value


def restored_batches(events: pa.Table, heads: pa.Table, *, is_selection: bool = False) -> Iterator[ArchivedBatch]:
    """Yield the batches that rows come from, in the order in which they arrived.

    Args:
        events: rows of events; all those of a batch, or any of them.
        heads: rows of batches; a batch whose row is missing has only what its events state.
        is_selection: whether events that matter to nobody were left out; they are counted as such.
    """
    order = [("appended", "ascending"), ("partition", "ascending"), ("offset", "ascending")]
    events = events.sort_by([*order, ("index", "ascending")]).combine_chunks()
    rows = {_place(row): row for row in heads.to_pylist()}
    starts = _starts(events)
    of_events = {_place(events.slice(start, 1).select(_PLACE).to_pylist()[0]): (start, end) for start, end in starts}
    for place in sorted(rows.keys() | of_events.keys()):
        start, end = of_events.get(place, (0, 0))
        own = events.slice(start, end - start)
        row = rows.get(place) or _stated(own)
        stored = _stored(row, own)
        if is_selection:
            stored = replace(stored, excluded=max((row.get("total") or 0) - stored.batch.total, 0))
        yield ArchivedBatch(stored, row["partition"], row["offset"])


def _place(row: Mapping[str, Any]) -> tuple[Any, int, int]:
    return row["appended"], row["partition"], row["offset"]


def _starts(events: pa.Table) -> list[tuple[int, int]]:
    """Return where each batch starts and ends in sorted rows."""
    if not events.num_rows:
        return []
    partition, offset = (events[name].to_numpy() for name in ("partition", "offset"))
    cuts = np.flatnonzero((np.diff(partition) != 0) | (np.diff(offset) != 0)) + 1
    ends = [*cuts.tolist(), events.num_rows]
    return list(zip([0, *ends], ends, strict=False))


def _stated(events: pa.Table) -> dict[str, Any]:
    # Python has no nanoseconds.
    created = events["time"][0].cast(pa.int64()).as_py()
    first = events.slice(0, 1).select([*_PLACE, *IDENTITY, "number", "index"]).to_pylist()[0]
    return {**first, "first_number": first["number"] - first["index"], "created": created}


def _stored(row: Mapping[str, Any], events: pa.Table) -> StoredBatch:
    head: dict[str, Any] = {name: row.get(name) or 0 for name in HEAD_NUMBERS}
    head |= {name: restored_text(row.get(name) or "") for name in HEAD_TEXTS}
    head |= {name: [restored_text(text) for text in row.get(name) or ()] for name in HEAD_LISTS}
    head |= {name: restored_text(value) if isinstance(value := row[name], str) else value for name in IDENTITY}
    appended = row["appended"]
    milliseconds = int(appended.timestamp() * 1000) if appended.tzinfo else _milliseconds(appended)
    batch = EventBatch(
        **head,
        cpu_seconds=row.get("cpu_seconds") or 0.0,
        lost={restored_text(each["reason"]): each["count"] for each in row.get("lost") or ()},
        interest=row.get("interest") or b"",
        stopping=bool(row.get("stopping")),
        appended=milliseconds * 1_000_000,
        **_contents(events),
    )
    numbers = events["number"].to_pylist()
    if numbers != list(range(batch.first_number, batch.first_number + batch.count)):
        batch.numbers = numbers
    return StoredBatch(batch, milliseconds, row.get("correction") or 0, row.get("size") or 0)


def _milliseconds(time: Any) -> int:
    return int(np.datetime64(time, "ms").astype(np.int64))


def _contents(events: pa.Table) -> dict[str, Any]:
    """Return the count, the tables and the columns of a batch."""
    if not events.num_rows:
        # A selection has no events of most batches.
        return {"count": 0, "processes": [], "containers": [], "strings": [None], "columns": empty_columns()}
    texts = TextTable([None])
    processes, containers = _processes(events)
    row_of = {row: at for at, row in enumerate(processes)}
    container_of = {row: at for at, row in enumerate(containers)}
    columns: dict[str, Any] = {name: array(code) for name, code in {**EVENT_COLUMNS, **ARGUMENT_COLUMNS}.items()}
    columns["time"].extend(events["time"].cast(pa.int64()).to_pylist())
    columns["process"].extend(map(row_of.__getitem__, events["proc_row"].to_pylist()))
    for name in NUMBERS:
        missing = MISSING_NUMBERS.get(name, 0)
        columns[name].extend(missing if value is None else value for value in events[name].to_pylist())
    for name in EVENT_TEXTS:
        columns[name].extend(_indices(texts, events[name].to_pylist()))
    files = events["fd_file"].to_pylist()
    columns["fd_file"].extend(_indices(texts, [None if each is None else "\0".join(each) for each in files]))
    columns["arg_start"].append(0)
    for arguments in events["arguments"].to_pylist():
        for each in arguments or ():
            columns["arg_name"].extend(_indices(texts, [each["name"]]))
            columns["arg_value"].extend(_indices(texts, [each["value"]]))
            columns["arg_raw"].append(each["raw"] or 0)
        columns["arg_start"].append(len(columns["arg_raw"]))
    return {
        "count": events.num_rows,
        "processes": [_process(row, row_of, container_of) for row in processes.values()],
        "containers": [_container(row) for row in containers.values()],
        "strings": [None, *texts.texts[1:]],
        "columns": columns,
    }


def _indices(texts: TextTable, values: Sequence[str | None]) -> Iterator[int]:
    return (texts[None if value is None else restored_text(value)] for value in values)


def _processes(events: pa.Table) -> tuple[dict[int, dict[str, Any]], dict[int, dict[str, Any]]]:
    """Return the processes, and the containers, that events refer to, ordered by their rows."""
    own = pa.StructArray.from_arrays([_whole(events[f"proc_{name}"]) for name in PROCESS], list(PROCESS))
    parts = [own, *(_flat(events[name], own.type) for name in ("ancestors", "relatives"))]
    names = ("row", *CONTAINER)
    owners = pa.StructArray.from_arrays(
        [_whole(events["proc_container"]), *(_whole(events[f"container_{name}"]) for name in CONTAINER)], list(names)
    )
    containers = [owners.filter(pc.greater_equal(own.field("container"), 0)), _flat(events["containers"], owners.type)]
    return _by_row(parts), _by_row(containers)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    found = column.combine_chunks()
    return pc.dictionary_decode(found) if pa.types.is_dictionary(found.type) else found


def _flat(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    return pc.list_flatten(column).combine_chunks().cast(kind)


def _by_row(parts: Sequence[pa.Array]) -> dict[int, dict[str, Any]]:
    rows = pa.concat_arrays(parts)
    _, first = np.unique(rows.field("row").to_numpy(zero_copy_only=False), return_index=True)
    return {row["row"]: row for row in rows.take(pa.array(first)).to_pylist()}


_DEFAULTS = {"exec_generation": 0, **dict.fromkeys(MARKS, False)}


def _process(row: Mapping[str, Any], row_of: Mapping[int, int], container_of: Mapping[int, int]) -> Process:
    facts: dict[str, Any] = {}
    for each in fields(Process):
        value: Any = row.get(each.name)
        if each.name in _ROWS:
            value = row_of.get(value, -1)
        elif each.name == "container":
            value = container_of.get(value, -1)
        elif each.name in LISTS:
            value = None if value is None else tuple(map(restored_text, value))
        elif isinstance(value, str):
            value = restored_text(value)
        elif each.name == SERVER and value is not None:
            value = NetworkServer(**_texts(value))
        elif isinstance(value, dict):
            value = ProgramFile(**_texts(value))
        elif value is None:
            value = _DEFAULTS.get(each.name)
        facts[each.name] = value
    return Process(**facts)


def _texts(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: (
            restored_text(value)
            if isinstance(value, str)
            else tuple(map(restored_text, value))
            if name in SERVER_LISTS
            else value
        )
        for name, value in row.items()
    }


def _container(row: Mapping[str, Any]) -> Container:
    facts = _texts({name: row.get(name) for name in CONTAINER})
    facts["is_truncated"] = bool(facts["is_truncated"])
    if facts["mounts"] is not None:
        facts["mounts"] = tuple(Mount(**_texts(each)) for each in facts["mounts"])
    for name in ("labels", "pod_labels"):
        if facts[name] is not None:
            facts[name] = tuple((restored_text(each["key"]), restored_text(each["value"])) for each in facts[name])
    return Container(**facts)
