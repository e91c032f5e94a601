"""Decode the header of an event batch without its events: who sent it, what it lost, what its collector watches."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import fastavro
from fastavro.schema import parse_schema

from schemas.batch import EventBatch
from schemas.codec import EVENT_BATCH_FORMAT, EVENT_BATCH_SCHEMA, BadBatch
from schemas.encoding.batch_limits import check_head
from schemas.encoding.wire import HEADER_SIZE

_LAST = "count"
"""The last field before the tables."""
_NAMES = [field["name"] for field in EVENT_BATCH_SCHEMA["fields"]]
_PARSED: Any = parse_schema(
    EVENT_BATCH_SCHEMA | {"fields": EVENT_BATCH_SCHEMA["fields"][: _NAMES.index(_LAST) + 1], "name": "EventBatchHead"}
)


@dataclass(frozen=True, slots=True)
class BatchHead:
    """What a batch states about its host and collector; the attributes are those of EventBatch."""

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
            datum: Any = fastavro.schemaless_reader(io.BytesIO(data[HEADER_SIZE:]), _PARSED, None)
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
    """Return a value as a message could hold it: without undecodable bytes in texts."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
