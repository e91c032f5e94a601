"""The columns of archived events, batches and alerts, and the form of their texts.

An event is one row with everything that its fields read: its own columns, its process (``proc_``), the process's
ancestors and leaders, and its container (``container_``). A batch is one row even without events, because it states
what its host collected and lost.

Parquet's texts are valid UTF-8, and so any tool can read them; those of hosts may have other bytes. Such a byte is
stored as a character of the private plane 16, from U+10FF80 for 0x80 to U+10FFFF for 0xFF. A text that really has one
of these characters has each of its four bytes stored that way, so that every text can be restored.

`Lineages` decides which processes and containers are stored with an event, and counts the bytes that they take.
"""

import re
from collections.abc import Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType

import pyarrow as pa

from schemas.batch import FILE_FACTS, MISSING_INT, NUMBER_COLUMNS, STRING_COLUMNS, Container, EventBatch, Process
from schemas.encoding.columns import FILES, LISTS, MARKS, NULLABLE, SERVER, SURE, TEXTS

VERSION = "1"
"""The version of these schemas, in each file's metadata.

Columns may be added without a new version: readers take their absence for missing values.
"""

_FIRST_BYTE = 0x10FF80
_SURROGATE = 0xDC80
_TO_ARCHIVE = {_SURROGATE + byte: _FIRST_BYTE + byte for byte in range(0x80)}
_FROM_ARCHIVE = {_FIRST_BYTE + byte: _SURROGATE + byte for byte in range(0x80)}
_PRIVATE = re.compile("[\U0010ff80-\U0010ffff]")


def archived_text(text: str) -> str:
    """Return a text as files store it, valid as UTF-8; text: undecodable bytes are lone surrogates, as in a batch."""
    if text.isascii():
        return text
    escaped = _PRIVATE.sub(lambda found: found[0].encode().decode("ascii", "surrogateescape"), text)
    return escaped.translate(_TO_ARCHIVE).encode("utf-8", "replace").decode()


def restored_text(text: str) -> str:
    """Return the text of which archived_text returned this one."""
    if text.isascii() or not _PRIVATE.search(text):
        return text
    return text.translate(_FROM_ARCHIVE).encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


TEXT = pa.string()
_OF_CODE = {"q": pa.int64(), "Q": pa.uint64(), "i": pa.int32(), "I": pa.uint32(), "h": pa.int16(), "B": pa.bool_()}
"""Types by the format characters of a batch's columns; B is a flag."""

FILE = pa.struct([
    *(pa.field(name, TEXT) for name in FILE_FACTS if name != "written_at"),
    pa.field("written_at", pa.int64()),
    pa.field("path", TEXT),
])  # fmt: skip

SERVER_LISTS, SERVER_TEXTS = ("listening", "libraries"), ("package", "package_version", "package_type")
SERVER_TYPE = pa.struct([
    *(pa.field(name, pa.list_(TEXT)) for name in SERVER_LISTS),
    *(pa.field(name, TEXT) for name in SERVER_TEXTS),
])  # fmt: skip

PROCESS: Mapping[str, pa.DataType] = MappingProxyType({
    "row": pa.int32(),
    **{name: _OF_CODE[code] for name, code in {**SURE, **NULLABLE, **MARKS}.items()},
    **dict.fromkeys(TEXTS, TEXT),
    **dict.fromkeys(LISTS, pa.list_(TEXT)),
    **dict.fromkeys(FILES, FILE),
    SERVER: SERVER_TYPE,
})  # fmt: skip
"""The attributes of a process. row, parent, session_leader, group_leader and container are rows of its batch."""

PAIRS = pa.list_(pa.struct([pa.field("key", TEXT), pa.field("value", TEXT)]))
MOUNTS = pa.list_(
    pa.struct(
        [*(pa.field(name, TEXT) for name in ("source", "dest", "mode", "propagation")), pa.field("rw", pa.bool_())]
    )
)
CONTAINER_TEXTS = (
    *("id", "full_id", "type", "name", "image", "image_id", "image_repository", "image_tag", "image_digest", "ip"),
    *("user", "pod_name", "pod_uid", "pod_namespace", "pod_sandbox_id"),
)
CONTAINER_FLAGS = ("privileged", "host_pid", "host_network", "host_ipc", "is_truncated")
CONTAINER: Mapping[str, pa.DataType] = MappingProxyType({
    **dict.fromkeys(CONTAINER_TEXTS, TEXT),
    **dict.fromkeys(CONTAINER_FLAGS, pa.bool_()),
    "start_ts": pa.int64(),
    "mounts": MOUNTS,
    "labels": PAIRS,
    "pod_labels": PAIRS,
})  # fmt: skip
"""The attributes of a container. Facts of the Kubernetes API server aren't on the topic of events, so not here."""

PROCESSES = pa.list_(pa.struct([pa.field(name, kind) for name, kind in PROCESS.items()]))
CONTAINERS = pa.list_(
    pa.struct([pa.field("row", pa.int32()), *(pa.field(name, kind) for name, kind in CONTAINER.items())])
)
ARGUMENTS = pa.list_(pa.struct([pa.field("name", TEXT), pa.field("value", TEXT), pa.field("raw", pa.int64())]))

MESSAGE = {"appended": pa.timestamp("ms"), "partition": pa.int32(), "offset": pa.int64()}
"""Where a row comes from: the broker's timestamp of the message, and its place in the topic."""
IDENTITY = {
    **dict.fromkeys(("host_id", "hostname", "boot_id"), TEXT),
    **dict.fromkeys(("collector_start", "sequence", "first_index"), pa.int64()),
}
"""Which part of which batch it is."""
NUMBERS = {
    name: _OF_CODE[code]
    for name, code in NUMBER_COLUMNS.items()
    if name not in ("time", "process")
}  # fmt: skip
MISSING_NUMBERS = {
    **dict.fromkeys(("thread", "vthread", "fd_num"), MISSING_INT), **dict.fromkeys(("local_port", "remote_port"), -1)
}  # fmt: skip
"""The numbers of a batch that mean a missing value, where 0 doesn't."""
EVENT_TEXTS = tuple(name for name in STRING_COLUMNS if name != "fd_file")

EVENTS = pa.schema({
    "time": pa.timestamp("ns"),
    **MESSAGE,
    **IDENTITY,
    "index": pa.int32(),
    "number": pa.int64(),
    **dict.fromkeys(EVENT_TEXTS, TEXT),
    "fd_file": pa.list_(TEXT),
    **NUMBERS,
    "arguments": ARGUMENTS,
    **{f"proc_{name}": kind for name, kind in PROCESS.items()},
    "ancestors": PROCESSES,
    "relatives": PROCESSES,
    **{f"container_{name}": kind for name, kind in CONTAINER.items()},
    "containers": CONTAINERS,
})  # fmt: skip
"""index is the event's position in this part of the batch, number is evt.num. relatives are leaders of sessions and
process groups that are no ancestors, with what leads to them; containers are those of ancestors in other containers."""

COUNTS = pa.list_(pa.struct([pa.field("reason", TEXT), pa.field("count", pa.int64())]))
HEAD_TEXTS = ("collector_version", "kernel", "os_name", "architecture", "rules_version", "interest_version")
HEAD_NUMBERS = ("created", "sent", "first_number", "previous_start", "previous_sequence", "memory_bytes")
HEAD_LISTS = ("addresses", "watched", "narrowed")

BATCHES = pa.schema({
    **MESSAGE,
    **IDENTITY,
    **dict.fromkeys(("correction", "size", "count", "total"), pa.int64()),
    **dict.fromkeys(HEAD_TEXTS, TEXT),
    **dict.fromkeys(HEAD_NUMBERS, pa.int64()),
    **dict.fromkeys(HEAD_LISTS, pa.list_(TEXT)),
    "cpu_seconds": pa.float64(),
    "lost": COUNTS,
    "interest": pa.binary(),
    "stopping": pa.bool_(),
})  # fmt: skip
"""correction is what was added to the host's times, ns; size is that of the message, bytes; count is the number of rows
in events, total the number of events, including those that `repeats` counts."""

ALERT_TEXTS = (
    *("id", "rule", "priority", "output", "source", "hostname", "host_id", "cluster_name", "description", "response"),
)
ALERT_VALUES = ("output_fields", "event", "window", "repeats")
"""Columns of JSON."""

ALERTS = pa.schema({
    "time": pa.timestamp("ns"),
    **MESSAGE,
    **dict.fromkeys(ALERT_TEXTS, TEXT),
    "tags": pa.list_(TEXT),
    **dict.fromkeys(ALERT_VALUES, TEXT),
})  # fmt: skip

DATASETS: Mapping[str, pa.Schema] = MappingProxyType({"events": EVENTS, "batches": BATCHES, "alerts": ALERTS})
"""The schemas by the name of their folder."""

MAX_ANCESTORS = 64
"""Ancestors of an event that are archived; hosts have fewer than 20. A hostile batch may have a line of all its
processes, which each of its events would repeat."""
MAX_RELATIVES = 32
_PROCESS_BYTES = 200
"""What the numbers of a process, or of a container, take."""
_PROCESS_TEXTS = attrgetter(*TEXTS)
_CONTAINER_TEXTS = attrgetter(*CONTAINER_TEXTS)
_FILE_TEXTS = attrgetter(*(name for name in FILE_FACTS if name != "written_at"), "path")


class Lineages:
    """The rows of each process that has events, those of its ancestors, relatives and of their containers."""

    def __init__(self) -> None:
        self.ancestors: list[list[int]] = []
        self.relatives: list[list[int]] = []
        self.containers: list[list[int]] = []
        self.sizes: list[int] = []
        """What they take in a row, bytes."""
        self._size_of: dict[int, int] = {}

    def add(self, batch: EventBatch, row: int, first_process: int, first_container: int) -> None:
        """Add those of one process. The first process and container are those of its batch among all batches."""
        processes = batch.processes
        line: dict[int, None] = {row: None}
        above = processes[row].parent
        while above >= 0 and len(line) <= MAX_ANCESTORS:
            line[above] = None
            above = processes[above].parent
        ancestors = list(line)[1:]
        found = dict(line)
        for known in list(found):
            _add_leaders(processes, known, found)
        relatives = list(found)[len(line) :]
        own = processes[row].container
        others = dict.fromkeys(processes[each].container for each in (*ancestors, *relatives))
        self.ancestors.append([first_process + each for each in ancestors])
        self.relatives.append([first_process + each for each in relatives])
        self.containers.append([first_container + each for each in others if each not in (-1, own)])
        size = sum(_container_size(batch.containers[each]) for each in {*others, own} if each >= 0)
        for each in (row, *ancestors, *relatives):
            if first_process + each not in self._size_of:
                self._size_of[first_process + each] = _process_size(processes[each])
            size += self._size_of[first_process + each]
        self.sizes.append(size)


def _process_size(process: Process) -> int:
    size = _PROCESS_BYTES + _texts_size(_PROCESS_TEXTS(process)) + sum(map(_texts_size, (process.args, process.env)))
    for file in (process.file, process.script):
        size += 0 if file is None else _texts_size(_FILE_TEXTS(file))
    if process.server is not None:
        size += sum(_texts_size(getattr(process.server, name)) for name in SERVER_LISTS)
    return size


def _container_size(container: Container) -> int:
    pairs = [text for labels in (container.labels, container.pod_labels) for pair in labels or () for text in pair]
    paths = [text for mount in container.mounts or () for text in (mount.source, mount.dest, mount.mode)]
    return _PROCESS_BYTES + _texts_size(_CONTAINER_TEXTS(container)) + _texts_size(pairs) + _texts_size(paths)


def _texts_size(texts: Sequence[str | None] | None) -> int:
    return 0 if not texts else 4 * len(texts) + sum(map(len, filter(None, texts)))


def _add_leaders(processes: Sequence[Process], row: int, found: dict[int, None]) -> None:
    """Add the leaders of a process, and what leads to them: their ancestors and leaders."""
    waiting = [row]
    while waiting:
        process = processes[waiting.pop()]
        for each in (process.session_leader, process.group_leader):
            leader = each
            while leader >= 0 and leader not in found and len(found) <= MAX_ANCESTORS + MAX_RELATIVES:
                found[leader] = None
                waiting.append(leader)
                leader = processes[leader].parent
