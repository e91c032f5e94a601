"""An alert, its deterministic id, and its Avro form.

The id is derived from the cause of the alert: an alert that is produced twice after a crash has the same id, so every
consumer can drop the second. The id begins with the event's time, so ids sort by time.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from typing import Any

from foundation.errors import LannerError
from schemas.encoding.wire import MessageFormat, UnreadableMessage, packaged_schema
from schemas.limits import MAX_TEXT_BYTES, Texts, Value

__all__ = ["Alert", "BadAlert", "Repeats", "Value", "Window", "alert_id", "bounded", "decode_alert", "encode_alert"]


ALERT_SCHEMA = packaged_schema("alert.avsc")
ALERT_FORMAT = MessageFormat(ALERT_SCHEMA, [packaged_schema("alert.0.1.avsc"), packaged_schema("alert.0.2.avsc")])
ARGUMENTS = "process.args"
"""All arguments of the process, by ECS's name: Falco's fields don't show where one ends."""
PLANNED = "actions.planned"
"""What action policies request because of an alert: a text for each."""
CLUSTER_FIELD = "k8s.cluster.name"
_NANOSECONDS_PER_MS = 1_000_000
_LONG = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Window:
    """The window of a stateful rule when it fired."""

    count: int
    first: int
    """Event time of the oldest event in the window, ns since the epoch."""
    last: int
    group: Mapping[str, Value] = field(default_factory=dict)
    """The values of the group-by fields, by field name."""
    values: tuple[str, ...] = ()
    """The distinct values, if the rule counts distinct values; at most 20."""
    legs: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    """By leg name: time and host of its event, and the fields that the output names."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """The alerts that one summary replaces."""

    first_id: str
    """Id of the alert that was sent."""
    count: int
    """Number of further alerts."""
    first: int
    """Event time of the alert that was sent, ns since the epoch."""
    last: int
    """Event time of the newest alert that was not sent, ns since the epoch."""
    period: int
    """How long repeats were counted, ns."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert: the parts that Falco's alerts have, an id, and the whole event."""

    id: str
    time: int
    """Event time, ns since the epoch."""
    rule: str
    priority: str
    """As Falco prints it: Emergency, Alert, Critical, Error, Warning, Notice, Informational, Debug."""
    output: str
    """The rule's output with its fields filled in, without time and priority."""
    output_fields: Mapping[str, Value]
    """The fields that the output names; None for a missing value."""
    tags: tuple[str, ...] = ()
    source: str = "syscall"
    hostname: str = ""
    host_id: str = ""
    event: Mapping[str, Value] = field(default_factory=dict)
    """The whole event by field name, without missing values; by ECS's names what Falco has no field for."""
    window: Window | None = None
    """Set for the alerts of stateful rules."""
    repeats: Repeats | None = None
    """Set for summaries."""
    cluster_name: str = ""
    """Name of the Kubernetes cluster; empty if none is configured."""
    description: str = ""
    """The rule's `desc`: what it detects and why it matters."""
    response: str = ""
    """The rule's `response`: what to look at first."""

    @property
    def stated(self) -> Mapping[str, Value]:
        """The values of its event; of a summary, without the fields in which repeats differ."""
        own = self.output_fields
        if self.repeats is not None:
            own = {name: value for name, value in own.items() if not isinstance(value, tuple)}
        return {**own, **self.event}

    def in_cluster(self, name: str) -> "Alert":
        """Return the alert with the name of its cluster: that of its pod's record if there is one, else this one."""
        found = self.event.get(CLUSTER_FIELD) or name
        return replace(self, cluster_name=found) if isinstance(found, str) and found else self


class BadAlert(LannerError, ValueError):
    """The bytes are not an alert."""


def alert_id(time: int, *cause: str | int) -> str:
    """Return a UUIDv8 (RFC 9562) made from an event's time and the cause of the alert.

    Args:
        time: ns since the epoch; the first 48 bits of the id are its milliseconds.
        cause: rule, host, boot id, collector start, sequence, index; their order matters.
    """
    text = "\x1f".join(str(part) for part in cause).encode("utf-8", "surrogateescape")
    rest = int.from_bytes(blake2b(text, digest_size=10).digest(), "big")
    number = (time // _NANOSECONDS_PER_MS & (1 << 48) - 1) << 80 | rest
    number = number & ~(0xF << 76) | 8 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=number))


def bounded(alert: Alert, made: Callable[[Texts], Texts] = Texts.within) -> Alert:
    """Return the alert with its texts clipped to the size limits; the same object if it is within them."""
    window = alert.window
    own = (alert.output, alert.description, alert.response)
    if window is None:
        texts = Texts(own, alert.output_fields, alert.event)
    else:
        legs = window.legs.values()
        texts = Texts((*own, *window.values), alert.output_fields, alert.event, (window.group, *legs))
    fitting = made(texts)
    if fitting is texts:
        return alert
    output, description, response, *values = fitting.texts
    if window is not None:
        group, *fitted = fitting.others
        window = replace(window, values=tuple(values), group=group, legs=dict(zip(window.legs, fitted, strict=True)))
    return replace(
        alert,
        output=output,
        description=description,
        response=response,
        output_fields=fitting.fields,
        event=fitting.event,
        window=window,
    )


def encode_alert(alert: Alert) -> bytes:
    """Encode an alert (Avro single-object encoding); replace undecodable bytes by U+FFFD.

    The result has at most one megabyte: texts that are too long are clipped.
    """
    data = _encoded(alert)
    if len(data) <= MAX_TEXT_BYTES or (smaller := bounded(alert)) is alert:
        return data
    return _encoded(smaller)


def _encoded(alert: Alert) -> bytes:
    return ALERT_FORMAT.encode(
        {
            "id": alert.id,
            "time": alert.time,
            "rule": _text(alert.rule),
            "priority": alert.priority,
            "output": _text(alert.output),
            "output_fields": _values(alert.output_fields),
            "tags": [_text(tag) for tag in alert.tags],
            "source": alert.source,
            "hostname": _text(alert.hostname),
            "host_id": _text(alert.host_id),
            "cluster_name": _text(alert.cluster_name),
            "description": _text(alert.description),
            "response": _text(alert.response),
            "event": _values(alert.event),
            "window": None if alert.window is None else _window(alert.window),
            "repeats": None if alert.repeats is None else asdict(alert.repeats),
        }
    )


def decode_alert(data: bytes) -> Alert:
    """Decode an alert that this or an earlier release wrote.

    Raises:
        BadAlert: the bytes are not an alert; the message gives the reason.
    """
    try:
        row: Any = ALERT_FORMAT.decode(data)
    except UnreadableMessage as problem:
        raise BadAlert(f"not an alert: {problem}") from None
    row["tags"] = tuple(row["tags"])
    for name in ("output_fields", "event"):
        row[name] = _read_values(row[name])
    if row["window"] is not None:
        row["window"] = _read_window(row["window"])
    if row["repeats"] is not None:
        row["repeats"] = Repeats(**row["repeats"])
    return Alert(**row)


def _window(window: Window) -> dict[str, Any]:
    return {
        "count": window.count,
        "first": window.first,
        "last": window.last,
        "group": _values(window.group),
        "values": [_text(value) for value in window.values],
        "legs": {_text(name): _values(leg) for name, leg in window.legs.items()},
    }


def _read_window(row: dict[str, Any]) -> Window:
    legs = {name: _read_values(leg) for name, leg in row["legs"].items()}
    return Window(**row | {"group": _read_values(row["group"]), "values": tuple(row["values"]), "legs": legs})


def _values(values: Mapping[str, Value]) -> dict[str, Any]:
    return {_text(name): _plain(value) for name, value in values.items()}


def _read_values(row: dict[str, Any]) -> dict[str, Value]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}


def _text(text: str) -> str:
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _plain(value: Value) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool) or value is None or isinstance(value, float):
        return value
    if isinstance(value, int):
        return value if value in _LONG else str(value)
    return [_text(str(item)) for item in value]
