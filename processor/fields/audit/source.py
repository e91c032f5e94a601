"""What distinguishes one source of JSON from another: where an event's time, key, host and user are, and its fields."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from processor.fields.audit import kubernetes
from processor.fields.audit.cloud_logging import audit_event, is_log_entry
from processor.fields.audit.pointer import as_text, value_at
from schemas.catalogue.sources import JSON, K8S_AUDIT
from schemas.text.times import NANOSECONDS, from_rfc3339

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


def unfilled(_name: str, _argument: str | None) -> Reader:
    """Return the reader of a field that never has a value."""
    return no_value


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
    read=unfilled,
    split=items,
    time=no_value,
    key=lambda _document: (),
    host=no_value,
    user=no_value,
    row=("evt.rawtime",),
)
"""Any JSON, without a mapping."""
