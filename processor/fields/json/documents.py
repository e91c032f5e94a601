"""Sources of JSON, and their events, read within limits: they come from outside, and users choose their content."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from bus.messages import AHEAD, BEHIND
from foundation.quantities import (
    NANOSECONDS,
    clock,
    clock_seconds,
    date_and_time,
    date_and_time_seconds,
    from_rfc3339,
    iso8601,
)
from foundation.text import printable
from processor.fields.json import kubernetes
from processor.fields.json.cloud_logging import audit_event, is_log_entry
from processor.fields.json.parsing import (
    LEFT_OUT,
    MAX_SHOWN,
    TOO_DEEP,
    BadJsonEvent,
    as_text,
    empty_deep,
    parse,
    pointer_keys,
    value_at,
)
from schemas.catalog.fields import JSON, K8S_AUDIT, resolve_field

Value = str | int | tuple[str, ...] | None
Reader = Callable[[Any], Value]
"""Takes a document and returns a value, None if it is missing."""
_UNITS = ((10**11, NANOSECONDS), (10**14, 10**6), (10**17, 10**3), (2**63, 1))
"""Numbers below the first are seconds since the epoch, then milliseconds, microseconds and nanoseconds."""
_AUDIT_TIMES = ("stageTimestamp", "requestReceivedTimestamp")


@dataclass(frozen=True, slots=True, eq=False)
class JsonSource:
    """One source."""

    name: str
    read: Callable[[str, str | None], Reader]
    """Returns the reader of a field of the source, by its name and argument."""
    split: Callable[[Any], Iterable[Any]]
    """Returns the events of a document."""
    time: Callable[[Any], int | None]
    """Returns the time of an event, ns since the epoch; None if it has none."""
    key: Callable[[Any], tuple[str, ...]]
    """Returns what identifies an event; empty if nothing but its content does."""
    host: Reader
    user: Reader
    row: tuple[str, ...]
    """The fields that an alert carries in addition to those of its output."""


def no_value(_document: Any) -> None:
    """Return nothing."""


def items(document: Any) -> list[Any]:
    """Return the elements of an array, or the document alone."""
    return document if isinstance(document, list) else [document]


def time_in(value: Any) -> int | None:
    """Return a time in ns since the epoch: RFC 3339, or a number of seconds, ms, µs or ns by its size."""
    if isinstance(value, str) and (found := from_rfc3339(value)) is not None:
        return found
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return None
    return next((int(value * unit) for limit, unit in _UNITS if value < limit), None)


def _audit_events(document: Any) -> Iterable[Any]:
    if isinstance(document, dict) and str(document.get("kind")).endswith("List"):
        document = document.get("items")
    events = (audit_event(each) if is_log_entry(each) else each for each in items(document))
    return (each for each in events if each is not None)


def _audit_time(document: Any) -> int | None:
    found = (from_rfc3339(text) for key in _AUDIT_TIMES if isinstance(text := document.get(key), str))
    return next((each for each in found if each is not None), None)


def _audit_key(document: Any) -> tuple[str, ...]:
    return tuple(str(as_text(value_at(document, (key,)))) for key in ("auditID", "stage"))


KUBERNETES = JsonSource(
    name=K8S_AUDIT,
    read=kubernetes.reader,
    split=_audit_events,
    time=_audit_time,
    key=_audit_key,
    host=no_value,
    user=kubernetes.reader("ka.user.name"),
    row=(
        *("evt.rawtime", "ka.auditid", "ka.stage", "ka.verb", "ka.uri"),
        *("ka.user.name", "ka.user.groups", "ka.impuser.name", "ka.sourceips", "ka.useragent"),
        *("ka.target.resource", "ka.target.subresource", "ka.target.namespace", "ka.target.name"),
        *("ka.response.code", "ka.response.reason", "ka.auth.decision", "ka.auth.reason"),
    ),
)
"""Kubernetes audit events; an alert carries who did what, and the answer."""
PLAIN_JSON = JsonSource(
    name=JSON,
    read=lambda _name, _argument: no_value,
    split=items,
    time=no_value,
    key=lambda _document: (),
    host=no_value,
    user=no_value,
    row=("evt.rawtime",),
)
"""Any JSON, without a mapping."""


_TRUNCATED = "json.truncated"
_OF_TIME: dict[str, Callable[[int], str | int]] = {
    "evt.time": clock,
    "evt.time.s": clock_seconds,
    "evt.time.iso8601": iso8601,
    "evt.datetime": date_and_time,
    "evt.datetime.s": date_and_time_seconds,
    "evt.rawtime": int,
    "evt.rawtime.s": lambda time: time // NANOSECONDS,
    "evt.rawtime.ns": lambda time: time % NANOSECONDS,
    "json.rawtime": str,
    "jevt.rawtime": str,
    "jevt.time": clock,
    "jevt.time.iso8601": iso8601,
}


class Document(dict[str, Value]):
    """Values by field, as rules write it: ``ka.verb``, ``ka.uri.param[command]``; None if missing.

    Subscription computes; `get` and `in` see what has been computed.
    """

    __slots__ = ("document", "number", "source", "stated_time", "time", "truncated")

    def __init__(
        self,
        document: dict[str, Any],
        time: int,
        number: int = 0,
        stated_time: int | None = None,
        source: JsonSource = KUBERNETES,
        *,
        truncated: str = "",
    ) -> None:
        """Take an event.

        Args:
            document: the parsed event.
            time: ns since the epoch.
            number: its position in what is read, for evt.num.
            stated_time: the time that the event itself states, if it was out of range.
            source: where it comes from.
            truncated: why parts of it are missing; empty if none are.
        """
        super().__init__()
        self.document = document
        self.time = time
        self.number = number
        self.stated_time = time if stated_time is None else stated_time
        self.source = source
        self.truncated = truncated

    @property
    def identity(self) -> tuple[str, ...]:
        """The source's name and what identifies the event; without a key, the content does."""
        key = self.source.key(self.document)
        return (self.source.name, *(key or (_content(self.document),)))

    @property
    def hostname(self) -> str:
        """The host that the event is about; empty if it names none."""
        host = self.source.host(self.document)
        return host if isinstance(host, str) else ""

    def row(self) -> dict[str, Any]:
        """Return the fields that alerts carry in addition to those of their output."""
        names = (*self.source.row, _TRUNCATED) if self.truncated else self.source.row
        return {name: value for name in names if (value := self[name]) not in (None, ())}

    def __missing__(self, key: str) -> Value:
        value = self[key] = _reader(self.source, key)(self)
        return value


@lru_cache(maxsize=4096)
def _reader(source: JsonSource, key: str) -> Callable[[Document], Value]:
    found = resolve_field(key)
    if found is None:
        raise KeyError(key)
    spec, argument = found
    name = spec.name
    if name in _OF_TIME:
        shown = _OF_TIME[name]
        return lambda fields: shown(fields.time)
    if name in ("json.value", "jevt.value"):
        keys = pointer_keys(argument or "")
        return lambda fields: as_text(value_at(fields.document, keys))
    if name in _OF_DOCUMENT:
        return _OF_DOCUMENT[name]
    if spec.family == source.name:
        read = source.read(name, argument)
        return lambda fields: read(fields.document)
    return no_value


def _content(document: Any) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _indented(fields: Document) -> str:
    return json.dumps(fields.document, ensure_ascii=False, indent=2)


_OF_DOCUMENT: dict[str, Callable[[Document], Value]] = {
    "json.obj": _indented,
    "jevt.obj": _indented,
    "json.host": lambda fields: fields.source.host(fields.document),
    "json.user": lambda fields: fields.source.user(fields.document),
    _TRUNCATED: lambda fields: bool(fields.truncated),
    "json.key": lambda fields: " ".join(fields.source.key(fields.document)) or None,
    "evt.num": lambda fields: fields.number,
    "evt.source": lambda fields: fields.source.name,
}


MAX_EVENTS = 10_000
"""Events of one document; a file that CloudTrail writes has hundreds."""
TRUNCATED = "audit.k8s.io/truncated"
"""The annotation by which an API server marks an event without its objects. Source: its truncate backend."""


def read_events(
    text: bytes,
    first_number: int = 0,
    received: int | None = None,
    source: JsonSource = KUBERNETES,
    otherwise: int | None = None,
) -> Iterator[Document]:
    """Yield the events of one JSON document.

    Args:
        text: the document: an event, an array of events, or what else the source splits into events.
        first_number: evt.num of the first event.
        received: when it arrived, ns since the epoch: times far from it are moved to the bounds that apply to the
            clocks of hosts. None if events are their own clock, as in a file.
        source: where it comes from.
        otherwise: the time of events that state none, ns since the epoch; None for when they arrived.

    Raises:
        BadJsonEvent: the document, or an event in it, can't be read; the events before it are valid.
    """
    # An API server writes each key once; what others write may come from a user.
    document, is_nested = parse(text, unique=source is not KUBERNETES)
    left_out = document.get(LEFT_OUT) if isinstance(document, dict) else None
    if left_out is not None and len(document) == 1:
        raise BadJsonEvent(str(left_out))
    for number, event in enumerate(source.split(document), first_number):
        if number - first_number == MAX_EVENTS:
            raise BadJsonEvent(f"more than {MAX_EVENTS:,} events in one document")
        yield event_of(event, number, received, source, otherwise, left_out=left_out, is_nested=is_nested)
    if left_out is not None and source is not KUBERNETES:
        # A member with events may be missing.
        raise BadJsonEvent(f"{left_out}: it was evaluated without its largest members")


def read_event(text: bytes, number: int, received: int) -> Document:
    """Return the Kubernetes audit event that a text is; arguments and errors are those of read_events."""
    document, is_nested = parse(text)
    return event_of(document, number, received, is_nested=is_nested)


def event_of(
    document: Any,
    number: int,
    received: int | None,
    source: JsonSource = KUBERNETES,
    otherwise: int | None = None,
    *,
    left_out: object = None,
    is_nested: bool = True,
) -> Document:
    """Return the event of a parsed document, without what is nested too deeply in it, which is removed from it.

    Args:
        document: the event.
        number: as for read_events, as are received, source and otherwise.
        left_out: why parts of the document in which it was are missing; None if none are.
        is_nested: whether it may be nested too deeply.

    Raises:
        BadJsonEvent: the document is not an event.
    """
    if not isinstance(document, dict):
        raise BadJsonEvent("not a JSON object")
    left_out = document.pop(LEFT_OUT, left_out)
    if source is KUBERNETES and not isinstance(document.get("auditID"), str):
        raise BadJsonEvent(f"not an audit event: {'auditID is missing' if left_out is None else left_out}")
    time = source.time(document)
    if time is None and source is not KUBERNETES:
        time = received if otherwise is None else otherwise
    if time is None:
        shown = printable(str(document.get("stageTimestamp")))[:MAX_SHOWN]
        raise BadJsonEvent(f"stageTimestamp is not a valid time: {shown}")
    if is_nested and empty_deep(document):
        left_out = TOO_DEEP if left_out is None else left_out
    elif left_out is None and source is KUBERNETES and value_at(document, ("annotations", TRUNCATED)) == "true":
        left_out = "the API server left out its objects"
    within = time if received is None else min(max(time, received - BEHIND), received + AHEAD)
    reason = "" if left_out is None else printable(str(left_out))[:MAX_SHOWN]
    return Document(document, within, number, time, source, truncated=reason)
