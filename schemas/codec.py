"""Encode and decode event batches: Avro single-object encoding (two marker bytes, schema fingerprint, datum).

A batch comes from a host that may be compromised, so this module checks lengths, ranges and the order of rows once.
Code that reads a decoded batch can rely on every index.
"""

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from schemas.batch import Container, EventBatch, Mount
from schemas.encoding.batch_limits import (
    MAX_CONTAINER_CHARACTERS,
    MAX_CONTAINERS,
    MAX_MOUNTS,
    check_clocks,
    check_head,
    check_joined,
    is_clock,
)
from schemas.encoding.columns.events import COLUMNS, pack_column, unpack_columns
from schemas.encoding.columns.former import former_processes, former_strings, text_at, texts_at
from schemas.encoding.columns.processes import PROCESS_COLUMNS, pack_processes, unpack_processes
from schemas.encoding.columns.texts import TextTable, encode_text, longest_of, pack_texts, unpack_texts
from schemas.encoding.wire import MessageFormat
from schemas.errors import LannerError

_RELEASES = ("0.1", "0.2", "0.3")
"""Earlier releases whose schema was different."""


def _schema(name: str) -> dict[str, Any]:
    return dict(json.loads(files("schemas").joinpath(name).read_text(encoding="utf-8")))


EVENT_BATCH_SCHEMA = _schema("event_batch.avsc")
EVENT_BATCH_FORMAT = MessageFormat(
    EVENT_BATCH_SCHEMA, [_schema(f"event_batch.{release}.avsc") for release in _RELEASES]
)
HEADER = EVENT_BATCH_FORMAT.header
_BYTES = tuple(field["name"] for field in EVENT_BATCH_SCHEMA["fields"] if field["type"] == "bytes")

_CONTAINER_TEXT = (
    *("id", "full_id", "type", "name", "image", "image_id", "image_repository", "image_tag", "image_digest"),
    *("ip", "user", "pod_name", "pod_uid", "pod_namespace", "pod_sandbox_id"),
)
_CONTAINER_PLAIN = ("privileged", "start_ts", "host_pid", "host_network", "host_ipc", "is_truncated")
_HEAD = (
    *("host_id", "hostname", "boot_id", "collector_start", "sequence", "created", "sent", "collector_version"),
    *("kernel", "previous_start", "previous_sequence", "rules_version", "interest_version", "cpu_seconds"),
    *("memory_bytes", "lost", "watched", "narrowed", "interest", "stopping", "first_number", "first_index", "count"),
)


class BadBatch(LannerError, ValueError):
    """The bytes are not an event batch, or its parts contradict each other."""


def encode_batch(batch: EventBatch) -> bytes:
    """Encode a batch; spool, topic and recordings all store these bytes."""
    texts = TextTable(batch.strings)
    datum: dict[str, Any] = {name: _storable(getattr(batch, name)) for name in _HEAD}
    for name, column in pack_processes(batch.processes, texts).items():
        datum[f"p_{name}"] = column
    datum["containers"] = [_container_datum(container, texts.__getitem__) for container in batch.containers]
    datum["texts"], datum["text_lengths"] = pack_texts(texts.texts)
    for name in COLUMNS:
        datum[f"c_{name}"] = pack_column(batch.columns[name])
    return EVENT_BATCH_FORMAT.encode(datum)


def decode_batch(data: bytes) -> EventBatch:
    """Decode and check a batch that this or an earlier release wrote.

    Raises:
        BadBatch: the bytes are not a valid batch; the message gives the reason.
    """
    try:
        return _checked(EVENT_BATCH_FORMAT.decode(data))
    except (IndexError, ValueError, OverflowError) as error:
        raise BadBatch(str(error)) from error


def decode_datum(data: bytes, writer_schema: Any = None) -> EventBatch:
    """Decode a batch without its header, as stored in an object container file.

    Args:
        data: the datum.
        writer_schema: the parsed schema of another release; None for the current one.

    Raises:
        BadBatch: the bytes are not a valid batch; the message gives the reason.
    """
    try:
        datum = EVENT_BATCH_FORMAT.decode_datum(data, writer_schema)
        for name in _BYTES:
            if isinstance(datum[name], str):
                # Avro's schema resolution reads a writer's string as our bytes.
                datum[name] = datum[name].encode()
        return _checked(datum)
    except (AttributeError, IndexError, OverflowError, TypeError, ValueError) as error:
        raise BadBatch(str(error)) from error


def _storable(value: Any) -> Any:
    """Return a header value that Avro can encode; a host name may hold any bytes."""
    return encode_text(value).decode("utf-8", "replace") if isinstance(value, str) else value


def _container_datum(container: Container, intern: Callable[[str | None], int]) -> dict[str, Any]:
    datum = {name: getattr(container, name) for name in _CONTAINER_PLAIN}
    for name in _CONTAINER_TEXT:
        datum[name] = intern(getattr(container, name))
    for name in ("labels", "pod_labels"):
        pairs = getattr(container, name)
        datum[name] = None if pairs is None else [intern(text) for pair in pairs for text in pair]
    if container.mounts is None:
        datum["mounts"] = None
    else:
        datum["mounts"] = [
            {
                "source": intern(mount.source),
                "dest": intern(mount.dest),
                "mode": intern(mount.mode),
                "rw": mount.rw,
                "propagation": intern(mount.propagation),
            }
            for mount in container.mounts
        ]
    return datum


def _checked(datum: dict[str, Any]) -> EventBatch:
    check_head(datum)
    if len(datum["containers"]) > MAX_CONTAINERS:
        raise ValueError(f"{len(datum['containers'])} containers in one batch")
    rows = {name: datum[f"p_{name}"] for name in PROCESS_COLUMNS}
    if datum["strings"] or datum["processes"]:
        if datum["texts"] or datum["text_lengths"] or any(rows.values()):
            raise ValueError("tables of two layouts in one batch")
        strings = former_strings(datum["strings"])
        processes = former_processes(datum["processes"], strings, len(datum["containers"]))
    else:
        strings = unpack_texts(datum["texts"], datum["text_lengths"])
        longest = longest_of(datum["text_lengths"])
        processes = unpack_processes(rows, strings, len(datum["containers"]), longest)
    raw = {name: datum[f"c_{name}"] for name in COLUMNS}
    check_clocks(raw, ("time",))
    columns = unpack_columns(raw, datum["count"], len(strings), len(processes))
    containers = [_container(row, strings) for row in datum["containers"]]
    head = {name: datum[name] for name in _HEAD} | {"interest": datum["interest"] or b""}
    return EventBatch(**head, strings=strings, processes=processes, containers=containers, columns=columns)


def _container(row: dict[str, Any], strings: list[str | None]) -> Container:
    facts = {name: row[name] for name in _CONTAINER_PLAIN}
    if not is_clock(facts["start_ts"] or 0):
        raise ValueError("the start time of a container is out of range")
    for name in _CONTAINER_TEXT:
        facts[name] = text_at(strings, row[name])
    facts["labels"], facts["pod_labels"] = _pairs(strings, row["labels"]), _pairs(strings, row["pod_labels"])
    if len(row["mounts"] or ()) > MAX_MOUNTS:
        raise ValueError(f"a container with {len(row['mounts'])} mounts")
    facts["mounts"] = None if row["mounts"] is None else tuple(_mount(mount, strings) for mount in row["mounts"])
    return Container(**facts)


def _pairs(strings: list[str | None], indices: list[int] | None) -> tuple[tuple[str, str], ...] | None:
    texts = texts_at(strings, indices)
    if texts is None:
        return None
    check_joined("labels", texts, MAX_CONTAINER_CHARACTERS)
    return tuple(zip(texts[::2], texts[1::2], strict=True))


def _mount(row: dict[str, Any], strings: list[str | None]) -> Mount:
    texts = {name: text_at(strings, row[name]) or "" for name in ("source", "dest", "mode", "propagation")}
    return Mount(**texts, rw=row["rw"])
