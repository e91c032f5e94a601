"""Encode and decode event batches: Avro single-object encoding (two marker bytes, schema fingerprint, datum).

A batch comes from a host that may be compromised, so this module checks lengths, ranges and the order of rows once.
Code that reads a decoded batch can rely on every index.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any

import fastavro
from fastavro.schema import parse_schema

from foundation.errors import LannerError
from schemas.batch import Container, EventBatch, Mount, NetworkServer, Process, ProgramFile
from schemas.encoding.columns import (
    COLUMNS,
    LISTS,
    MAX_PROCESSES,
    NULLABLE,
    PROCESS_COLUMNS,
    SURE,
    TEXTS,
    TIMES,
    numbered_files,
    pack_column,
    pack_processes,
    unpack_columns,
    unpack_processes,
)
from schemas.encoding.limits import (
    MAX_CONTAINER_CHARACTERS,
    MAX_CONTAINERS,
    MAX_LIBRARIES,
    MAX_LISTENING,
    MAX_MOUNTS,
    MAX_PROCESS_CHARACTERS,
    MAX_SERVERS,
    MAX_TEXT_BYTES,
    MAX_TEXTS,
    TextTable,
    check_clocks,
    check_head,
    check_joined,
    check_names,
    encode_text,
    is_clock,
    longest_of,
    pack_texts,
    unpack_texts,
)
from schemas.encoding.wire import HEADER_SIZE, MessageFormat, packaged_schema, varint

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


_RELEASES = ("0.1", "0.2", "0.3")
"""Earlier releases whose schema was different."""


EVENT_BATCH_SCHEMA = packaged_schema("event_batch.avsc")
EVENT_BATCH_FORMAT = MessageFormat(
    EVENT_BATCH_SCHEMA, [packaged_schema(f"event_batch.{release}.avsc") for release in _RELEASES]
)
HEADER = EVENT_BATCH_FORMAT.header
_FIELDS = {field["name"]: field for field in EVENT_BATCH_SCHEMA["fields"]}
_NAMES = list(_FIELDS)
_LAST = "count"
"""The last field before the tables."""
_PARSED_HEAD: Any = parse_schema(
    EVENT_BATCH_SCHEMA | {"fields": EVENT_BATCH_SCHEMA["fields"][: _NAMES.index(_LAST) + 1], "name": "EventBatchHead"}
)
_PARSED_CONTAINERS: Any = parse_schema(_FIELDS["containers"]["type"])
_NO_ROWS = b"\0"
"""An empty array."""
_NO_FORMER_TABLES = 2 * _NO_ROWS
"""`strings` and `processes`."""
_BEFORE_CONTAINERS = _NAMES[_NAMES.index("texts") : _NAMES.index("containers")]
_PARSED_SERVERS: Any = parse_schema(_FIELDS["servers"]["type"])
_AFTER_SERVERS = _NAMES[_NAMES.index("servers") + 1 :]
_BYTES = tuple(field["name"] for field in EVENT_BATCH_SCHEMA["fields"] if field["type"] == "bytes")

_CONTAINER_TEXT = (
    *("id", "full_id", "type", "name", "image", "image_id", "image_repository", "image_tag", "image_digest"),
    *("ip", "user", "pod_name", "pod_uid", "pod_namespace", "pod_sandbox_id"),
)
_FILE_TEXT = ("sha256", "origin", "package", "package_version", "written_by", "written_by_user", "path", "package_type")
_FILE_FACTS = attrgetter(*_FILE_TEXT)
_WRITTEN_AT = _FILE_TEXT.index("path")
_NO_TIME, _A_TIME = b"\0", b"\2"
_SERVER_TEXT = ("package", "package_version", "package_type")
_SERVER_LISTS = {"listening": MAX_LISTENING, "libraries": MAX_LIBRARIES}
_MOUNT_TEXT = ("source", "dest", "mode", "propagation")
_CONTAINER_PLAIN = ("privileged", "start_ts", "host_pid", "host_network", "host_ipc", "is_truncated")
_HEAD = (
    *("host_id", "hostname", "boot_id", "collector_start", "sequence", "created", "sent", "collector_version"),
    *("os_name", "architecture", "addresses"),
    *("kernel", "previous_start", "previous_sequence", "rules_version", "interest_version", "cpu_seconds"),
    *("memory_bytes", "lost", "watched", "narrowed", "interest", "stopping", "first_number", "first_index", "count"),
)


_length = lru_cache(maxsize=1024)(varint)


class BadBatch(LannerError, ValueError):
    """The bytes are not an event batch, or its parts contradict each other."""


def encode_batch(batch: EventBatch) -> bytes:
    """Encode a batch; spool, topic and recordings all store these bytes."""
    texts = TextTable(batch.strings)
    head = {name: _storable(getattr(batch, name)) for name in _HEAD}
    files, file_numbers = numbered_files(batch.processes)
    servers = {None: 0} | {each.server: 0 for each in batch.processes if each.server is not None}
    for number, server in enumerate(servers):
        servers[server] = number
    packed = pack_processes(batch.processes, texts, file_numbers, servers)
    tables = {f"p_{name}": column for name, column in packed.items()}
    containers = [_container_datum(container, texts.__getitem__) for container in batch.containers]
    programs = [_encoded_file(file, texts.__getitem__) for file in files if file is not None]
    listening = [_server_datum(server, texts.__getitem__) for server in servers if server is not None]
    tables["texts"], tables["text_lengths"] = pack_texts(texts.texts)
    for name in COLUMNS:
        tables[f"c_{name}"] = pack_column(batch.columns[name])
    out = io.BytesIO()
    out.write(HEADER)
    fastavro.schemaless_writer(out, _PARSED_HEAD, head)
    out.write(_NO_FORMER_TABLES)
    _write_columns(out, _BEFORE_CONTAINERS, tables)
    _write_rows(out, _PARSED_CONTAINERS, containers)
    # Each batch has these if rules use them, so they are as fast as columns.
    out.write(b"".join((_length(len(programs)), *programs, _NO_ROWS)) if programs else _NO_ROWS)
    _write_rows(out, _PARSED_SERVERS, listening)
    _write_columns(out, _AFTER_SERVERS, tables)
    return out.getvalue()


def _write_rows(out: io.BytesIO, schema: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write an array; a call of fastavro takes as long as several columns, and most batches have no such rows."""
    if rows:
        fastavro.schemaless_writer(out, schema, rows)
    else:
        out.write(_NO_ROWS)


def _write_columns(out: io.BytesIO, names: Sequence[str], tables: Mapping[str, bytes]) -> None:
    """Write columns as Avro's bytes are, their lengths and what they contain: faster than by the schema."""
    out.write(b"".join([part for name in names for part in (_length(len(tables[name])), tables[name])]))


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
    """Decode a batch without its header, as stored in an object container file. The writer may be another release.

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
    """Return a header value that Avro can encode; a host name may contain any bytes."""
    return encode_text(value).decode("utf-8", "replace") if isinstance(value, str) else value


def _encoded_file(file: ProgramFile, intern: Callable[[str | None], int]) -> bytes:
    """Encode what a program's file is as the schema has it: texts, and a union of null and long between them."""
    parts = [*map(_length, map(intern, _FILE_FACTS(file)))]
    parts.insert(_WRITTEN_AT, _NO_TIME if file.written_at is None else _A_TIME + varint(max(0, file.written_at)))
    return b"".join(parts)


def _server_datum(server: NetworkServer, intern: Callable[[str | None], int]) -> dict[str, Any]:
    lists = {name: [intern(text) for text in getattr(server, name)] for name in _SERVER_LISTS}
    return {name: intern(getattr(server, name)) for name in _SERVER_TEXT} | lists


def _container_datum(container: Container, intern: Callable[[str | None], int]) -> dict[str, Any]:
    datum = {name: getattr(container, name) for name in _CONTAINER_PLAIN}
    for name in _CONTAINER_TEXT:
        datum[name] = intern(getattr(container, name))
    for name in ("labels", "pod_labels"):
        pairs = getattr(container, name)
        datum[name] = None if pairs is None else [intern(text) for pair in pairs for text in pair]
    datum["mounts"] = None
    if container.mounts is not None:
        datum["mounts"] = [
            {"rw": mount.rw, **{name: intern(getattr(mount, name)) for name in _MOUNT_TEXT}}
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
        if len(datum["files"]) > MAX_PROCESSES:
            raise ValueError(f"{len(datum['files'])} files of programs in one batch")
        files = (None, *(_file(row, strings) for row in datum["files"]))
        if len(datum["servers"]) > MAX_SERVERS:
            raise ValueError(f"{len(datum['servers'])} servers in one batch")
        servers = (None, *(_server(row, strings) for row in datum["servers"]))
        processes = unpack_processes(rows, strings, len(datum["containers"]), files, servers, longest=longest)
    raw = {name: datum[f"c_{name}"] for name in COLUMNS}
    check_clocks(raw, ("time",))
    columns = unpack_columns(raw, datum["count"], len(strings), len(processes))
    containers = [_container(row, strings) for row in datum["containers"]]
    head = {name: datum[name] for name in _HEAD} | {"interest": datum["interest"] or b""}
    return EventBatch(**head, strings=strings, processes=processes, containers=containers, columns=columns)


def _file(row: dict[str, Any], strings: list[str | None]) -> ProgramFile:
    if not is_clock(row["written_at"] or 0):
        raise ValueError("the time at which a program was written is out of range")
    return ProgramFile(**{name: text_at(strings, row[name]) for name in _FILE_TEXT}, written_at=row["written_at"])


def _server(row: dict[str, Any], strings: list[str | None]) -> NetworkServer:
    texts: dict[str, Any] = {name: text_at(strings, row[name]) for name in _SERVER_TEXT}
    lists: dict[str, Any] = {name: texts_at(strings, row[name]) or () for name in _SERVER_LISTS}
    check_names("a package of a server", filter(None, texts.values()))
    for name, most in _SERVER_LISTS.items():
        check_names(f"{name} of a server", lists[name], most)
    return NetworkServer(**texts, **lists)


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
    texts = {name: text_at(strings, row[name]) or "" for name in _MOUNT_TEXT}
    return Mount(**texts, rw=row["rw"])


@dataclass(frozen=True, slots=True)
class BatchHead:
    """The facts of a batch about its host and collector; the attributes are those of EventBatch."""

    host_id: str
    hostname: str
    collector_start: int
    created: int
    collector_version: str
    kernel: str
    rules_version: str
    interest_version: str
    cpu_seconds: float
    memory_bytes: int
    lost: Mapping[str, int]
    stopping: bool
    watched: tuple[str, ...]
    narrowed: tuple[str, ...]


_UNCHANGED: Callable[[Mapping[str, Any]], tuple[Any, ...]] = itemgetter(
    *(name for name in BatchHead.__slots__ if name not in ("watched", "narrowed"))
)


def decode_head(data: bytes) -> BatchHead:
    """Decode the header of a batch that this or an earlier release wrote; the rest of the batch is not checked.

    Raises:
        BadBatch: the bytes are not a batch, or a value of the header is out of range.
    """
    try:
        if data.startswith(EVENT_BATCH_FORMAT.header):
            datum: Any = fastavro.schemaless_reader(io.BytesIO(data[HEADER_SIZE:]), _PARSED_HEAD, None)
        else:
            datum = EVENT_BATCH_FORMAT.decode(data)
        check_head(datum)
        return _head(datum)
    except Exception as error:  # fastavro may raise anything
        raise BadBatch(str(error) or type(error).__name__) from error


def head_of(batch: EventBatch) -> BatchHead:
    """Return the header of a batch of this process."""
    return _head({name: _sendable(getattr(batch, name)) for name in BatchHead.__slots__})


def _head(values: Mapping[str, Any]) -> BatchHead:
    return BatchHead(*(*_UNCHANGED(values), tuple(values["watched"]), tuple(values["narrowed"])))


def _sendable(value: Any) -> Any:
    """Return a value in a form that a message can have: without undecodable bytes in texts."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
