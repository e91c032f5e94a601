"""The fields of one event that is JSON, as a mapping that computes each value when it is first read."""

import json
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from processor.fields.audit.pointer import as_text, pointer_keys, value_at
from processor.fields.audit.source import KUBERNETES, JsonSource, Value
from schemas.catalogue.fields import resolve_field
from schemas.text.times import NANOSECONDS, clock, clock_seconds, date_and_time, date_and_time_seconds, iso8601

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


class AuditFields(dict[str, Value]):
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
def _reader(source: JsonSource, key: str) -> Callable[[AuditFields], Value]:
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
    return _missing


def _content(document: Any) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _missing(_fields: AuditFields) -> None:
    return None


def _indented(fields: AuditFields) -> str:
    return json.dumps(fields.document, ensure_ascii=False, indent=2)


_OF_DOCUMENT: dict[str, Callable[[AuditFields], Value]] = {
    "json.obj": _indented,
    "jevt.obj": _indented,
    "json.host": lambda fields: fields.source.host(fields.document),
    "json.user": lambda fields: fields.source.user(fields.document),
    _TRUNCATED: lambda fields: bool(fields.truncated),
    "json.key": lambda fields: " ".join(fields.source.key(fields.document)) or None,
    "evt.num": lambda fields: fields.number,
    "evt.source": lambda fields: fields.source.name,
}
