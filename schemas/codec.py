"""Event batches as bytes and back: Avro single-object encoding (two marker bytes, schema fingerprint, datum).

A batch is input from a host that may be taken over, so lengths, ranges and the order of rows are checked here once;
nothing behind this module needs to doubt an index.
"""

import json
from collections.abc import Callable
from importlib.resources import files
from itertools import pairwise
from typing import Any

from schemas.batch import Column, Container, EventBatch, Mount, Process
from schemas.columns import ARGUMENT_COLUMNS, EVENT_COLUMNS, STRING_COLUMNS
from schemas.wire import MessageFormat

MAX_EVENTS = 100_000
MAX_STRINGS = 1_000_000
MAX_ARGUMENTS = 64
"""An event, on average; Falco's table knows no event of more than 32."""

_RELEASES = ("0.1",)
"""Former releases whose schema was another."""


def _schema(name: str) -> dict[str, Any]:
    return dict(json.loads(files("schemas").joinpath(name).read_text(encoding="utf-8")))


EVENT_BATCH_SCHEMA = _schema("event_batch.avsc")
EVENT_BATCH_FORMAT = MessageFormat(
    EVENT_BATCH_SCHEMA, [_schema(f"event_batch.{release}.avsc") for release in _RELEASES]
)
HEADER = EVENT_BATCH_FORMAT.header

_PROCESS_TEXT = ("name", "exe", "exepath", "cwd", "user", "group", "login_name", "home", "shell", "cgroup")
_PROCESS_PLAIN = (
    *("pid", "ppid", "vpid", "pgid", "vpgid", "sid", "tty", "loginuid", "uid", "gid"),
    *("cap_effective", "cap_permitted", "cap_inheritable", "exe_ino", "exe_ino_ctime", "exe_ino_mtime"),
    *("start_time", "exec_time", "pidns_init_start_time", "exec_generation"),
    *("is_exe_writable", "is_exe_upper_layer", "is_exe_lower_layer", "is_exe_from_memfd"),
    *("container", "parent", "session_leader", "group_leader"),
)
_PROCESS_UNSIGNED = ("exe_ino", "cap_effective", "cap_permitted", "cap_inheritable")
"""Avro knows no unsigned long; what an overlay or FUSE file system calls an inode may need all 64 bits."""
_INT64_MAX = (1 << 63) - 1
_CONTAINER_TEXT = (
    *("id", "full_id", "type", "name", "image", "image_id", "image_repository", "image_tag", "image_digest"),
    *("ip", "user", "pod_name", "pod_uid", "pod_namespace", "pod_sandbox_id"),
)
_CONTAINER_PLAIN = ("privileged", "start_ts", "host_pid", "host_network", "host_ipc")
_HEAD = (
    *("host_id", "hostname", "boot_id", "collector_start", "sequence", "created", "sent", "collector_version"),
    *("kernel", "previous_start", "previous_sequence", "rules_version", "interest_version", "cpu_seconds"),
    *("memory_bytes", "lost", "watched", "narrowed", "interest", "stopping", "first_number", "count"),
)
_CODES = {**EVENT_COLUMNS, **ARGUMENT_COLUMNS}
_SIZES = {"q": 8, "Q": 8, "i": 4, "I": 4, "h": 2}


class BadBatch(ValueError):
    """Bytes that are no event batch, or one whose parts contradict each other."""


def encode_batch(batch: EventBatch) -> bytes:
    """Encode a batch once; spool, topic and recording keep these bytes."""
    strings = [_bytes(text or "") for text in batch.strings]
    known = {text: index for index, text in enumerate(batch.strings) if index}

    def intern(text: str | None) -> int:
        if text is None:
            return 0
        index = known.get(text)
        if index is None:
            index = known[text] = len(strings)
            strings.append(_bytes(text))
        return index

    datum: dict[str, Any] = {name: _storable(getattr(batch, name)) for name in _HEAD}
    datum["processes"] = [_process_datum(process, intern) for process in batch.processes]
    datum["containers"] = [_container_datum(container, intern) for container in batch.containers]
    datum["strings"] = strings
    for name in _CODES:
        raw = memoryview(batch.columns[name]).tobytes()  # type: ignore[arg-type]
        datum[f"c_{name}"] = raw if raw.strip(b"\0") else b""
    return EVENT_BATCH_FORMAT.encode(datum)


def decode_batch(data: bytes) -> EventBatch:
    """Decode and check a batch that this release or a former one wrote.

    Raises:
        BadBatch: it is none, and why.
    """
    try:
        return _checked(EVENT_BATCH_FORMAT.decode(data))
    except (IndexError, ValueError, OverflowError) as error:
        raise BadBatch(str(error)) from error


def decode_datum(data: bytes, writer_schema: Any = None) -> EventBatch:
    """Decode a batch without its header, as it stands in an object container file.

    Args:
        data: the datum.
        writer_schema: that of another release, parsed; None where it is ours.

    Raises:
        BadBatch: it is none, and why.
    """
    try:
        return _checked(EVENT_BATCH_FORMAT.decode_datum(data, writer_schema))
    except (IndexError, ValueError, OverflowError) as error:
        raise BadBatch(str(error)) from error


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # A lone surrogate that never was bytes: a container's label from JSON can hold one.
        return text.encode("utf-8", "replace")


def _storable(value: Any) -> Any:
    """Make a text of the head one that Avro takes; a host may be called anything."""
    return _bytes(value).decode("utf-8", "replace") if isinstance(value, str) else value


def _process_datum(process: Process, intern: Callable[[str | None], int]) -> dict[str, Any]:
    datum = {name: getattr(process, name) for name in _PROCESS_PLAIN}
    for name in _PROCESS_UNSIGNED:
        if (datum[name] or 0) > _INT64_MAX:
            datum[name] -= 1 << 64
    for name in _PROCESS_TEXT:
        datum[name] = intern(getattr(process, name))
    datum["args"] = None if process.args is None else [intern(text) for text in process.args]
    datum["env"] = None if process.env is None else [intern(text) for text in process.env]
    return datum


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
    count = datum["count"]
    if not 0 <= count <= MAX_EVENTS:
        raise ValueError(f"{count} events in one batch")
    if not 0 < len(datum["strings"]) <= MAX_STRINGS:
        raise ValueError(f"{len(datum['strings'])} strings in one batch")
    strings: list[str | None] = [None]
    strings += [text.decode("utf-8", "surrogateescape") for text in datum["strings"][1:]]
    columns = {name: _column(datum, name, code, count) for name, code in EVENT_COLUMNS.items()}
    starts = _column(datum, "arg_start", ARGUMENT_COLUMNS["arg_start"], count + 1)
    columns["arg_start"] = starts
    if starts[0] != 0 or any(a > b for a, b in pairwise(starts)):
        raise ValueError("arg_start goes backwards")
    if starts[count] > MAX_ARGUMENTS * count:
        raise ValueError(f"{starts[count]} arguments of {count} events")
    for name in ("arg_name", "arg_value", "arg_raw"):
        columns[name] = _column(datum, name, ARGUMENT_COLUMNS[name], starts[count])
    for name in (*STRING_COLUMNS, "arg_name", "arg_value"):
        _below(name, columns[name], len(strings))
    _below("process", columns["process"], len(datum["processes"]))
    containers = [_container(row, strings) for row in datum["containers"]]
    processes = [_process(row, index, strings, len(containers)) for index, row in enumerate(datum["processes"])]
    head = {name: datum[name] for name in _HEAD} | {"interest": datum["interest"] or b""}
    return EventBatch(**head, strings=strings, processes=processes, containers=containers, columns=columns)


def _column(datum: dict[str, Any], name: str, code: str, count: int) -> Column:
    raw: bytes = datum[f"c_{name}"]
    size = _SIZES[code] * count
    if not raw:
        raw = bytes(size)
    if len(raw) != size:
        raise ValueError(f"column {name} has {len(raw)} bytes, not {size}")
    return memoryview(raw).cast(code)  # type: ignore[call-overload, no-any-return]


def _below(name: str, column: Column, limit: int) -> None:
    # Read as unsigned, a negative index is a huge one: one look finds both.
    if len(column) and max(memoryview(column).cast("B").cast("I")) >= limit:  # type: ignore[arg-type]
        raise ValueError(f"column {name} points outside its table")


def _text(strings: list[str | None], index: int) -> str | None:
    if index < 0:
        raise IndexError(f"string {index} is outside the table")
    return strings[index]


def _texts(strings: list[str | None], indices: list[int] | None) -> tuple[str, ...] | None:
    return None if indices is None else tuple(_text(strings, index) or "" for index in indices)


def _pairs(strings: list[str | None], indices: list[int] | None) -> tuple[tuple[str, str], ...] | None:
    texts = _texts(strings, indices)
    return None if texts is None else tuple(zip(texts[::2], texts[1::2], strict=True))


def _process(row: dict[str, Any], index: int, strings: list[str | None], containers: int) -> Process:
    if not (-1 <= row["parent"] < index and -1 <= row["container"] < containers):
        raise ValueError(f"process {index} points outside its tables")
    if not (-1 <= row["session_leader"] <= index and -1 <= row["group_leader"] <= index):
        raise ValueError(f"process {index} is led from outside its table")
    facts = {name: row[name] for name in _PROCESS_PLAIN}
    for name in _PROCESS_UNSIGNED:
        if (facts[name] or 0) < 0:
            facts[name] += 1 << 64
    for name in _PROCESS_TEXT:
        facts[name] = _text(strings, row[name])
    return Process(**facts, args=_texts(strings, row["args"]), env=_texts(strings, row["env"]))


def _container(row: dict[str, Any], strings: list[str | None]) -> Container:
    facts = {name: row[name] for name in _CONTAINER_PLAIN}
    for name in _CONTAINER_TEXT:
        facts[name] = _text(strings, row[name])
    mounts = row["mounts"]
    return Container(
        **facts,
        labels=_pairs(strings, row["labels"]),
        pod_labels=_pairs(strings, row["pod_labels"]),
        mounts=None
        if mounts is None
        else tuple(
            Mount(
                source=_text(strings, mount["source"]) or "",
                dest=_text(strings, mount["dest"]) or "",
                mode=_text(strings, mount["mode"]) or "",
                rw=mount["rw"],
                propagation=_text(strings, mount["propagation"]) or "",
            )
            for mount in mounts
        ),
    )
