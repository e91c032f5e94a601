"""The fields of one audit event as a mapping that computes each value when it is first read."""

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from processor.fields.audit import kubernetes
from processor.fields.audit.pointer import as_text, pointer_keys, value_at
from schemas.catalogue.fields import resolve_field
from schemas.catalogue.sources import K8S_AUDIT
from schemas.text.times import NANOSECONDS, clock, clock_seconds, date_and_time, date_and_time_seconds, iso8601

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
}
Value = str | int | tuple[str, ...] | None


class AuditFields(dict[str, Value]):
    """Values by field, as rules write it: ``ka.verb``, ``ka.uri.param[command]``; None if missing.

    Subscription computes; `get` and `in` see what has been computed.
    """

    __slots__ = ("document", "number", "stated_time", "time")

    def __init__(self, document: dict[str, Any], time: int, number: int = 0, stated_time: int | None = None) -> None:
        """Take an event.

        Args:
            document: the parsed event.
            time: ns since the epoch.
            number: its position in what is read, for evt.num.
            stated_time: the time that the event itself states, if it was out of range.
        """
        super().__init__()
        self.document = document
        self.time = time
        self.number = number
        self.stated_time = time if stated_time is None else stated_time

    def __missing__(self, key: str) -> Value:
        value = self[key] = _reader(key)(self)
        return value


@lru_cache(maxsize=4096)
def _reader(key: str) -> Callable[[AuditFields], Value]:
    found = resolve_field(key)
    if found is None:
        raise KeyError(key)
    spec, argument = found
    if spec.family == K8S_AUDIT:
        read = kubernetes.reader(spec.name, argument)
        return lambda fields: read(fields.document)
    if spec.name in _OF_TIME:
        shown = _OF_TIME[spec.name]
        return lambda fields: shown(fields.time)
    if spec.name in ("json.value", "jevt.value"):
        keys = pointer_keys(argument or "")
        return lambda fields: as_text(value_at(fields.document, keys))
    if spec.name in ("json.obj", "jevt.obj"):
        return lambda fields: json.dumps(fields.document, ensure_ascii=False, indent=2)
    if spec.name == "evt.num":
        return lambda fields: fields.number
    return lambda _fields: K8S_AUDIT if spec.name == "evt.source" else None
