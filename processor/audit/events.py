"""Reads audit events from JSON, within limits: they come from outside, and users choose their content."""

import json
from collections.abc import Iterator
from typing import Any

from processor.fields.audit.event_fields import AuditFields
from processor.hosts.clock_skew import AHEAD, BEHIND
from schemas.errors import LannerError
from schemas.text.printable import printable
from schemas.text.times import from_rfc3339

MAX_EVENT_BYTES = 4 << 20
"""An API server accepts objects of up to 3 MiB; an event that were skipped for its size would be a way to hide."""
MAX_DEPTH = 128
"""Objects in clusters are nested about a dozen levels deep."""
_MAX_SHOWN = 60
_TIMES = ("stageTimestamp", "requestReceivedTimestamp")


class BadAuditEvent(LannerError, ValueError):
    """The text is not an audit event; the message is the reason."""


def read_events(text: bytes, first_number: int = 0, received: int | None = None) -> Iterator[AuditFields]:
    """Yield the events of one JSON document: an Event, an EventList or an array of events.

    Args:
        text: the document.
        first_number: evt.num of the first event.
        received: when it arrived, ns since the epoch: times far from it are moved to the bounds that apply to the
            clocks of hosts. None if events are their own clock, as in a file.

    Raises:
        BadAuditEvent: the document, or an event in it, can't be read; the events before it are valid.
    """
    document = parse(text)
    if isinstance(document, dict) and str(document.get("kind")).endswith("List"):
        document = document.get("items")
    for number, event in enumerate(document if isinstance(document, list) else [document], first_number):
        yield event_of(event, number, received)


def parse(text: bytes) -> Any:
    """Parse a JSON document within the limits. Raises BadAuditEvent."""
    text = text.rstrip()
    if len(text) > MAX_EVENT_BYTES:
        raise BadAuditEvent(f"{len(text):,} bytes, more than the limit of {MAX_EVENT_BYTES:,}")
    try:
        document = json.loads(text)
    except RecursionError:
        raise BadAuditEvent(_TOO_DEEP) from None
    except ValueError as error:
        raise BadAuditEvent(f"not JSON: {error}") from None
    if text.count(b"{") + text.count(b"[") > MAX_DEPTH and _depth(document) > MAX_DEPTH:
        raise BadAuditEvent(_TOO_DEEP)
    return document


_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"


def _depth(document: Any) -> int:
    depth, level = 0, [document]
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [
            child
            for value in level
            for child in (value.values() if isinstance(value, dict) else value)
            if isinstance(child, dict | list)
        ]
    return depth


def event_of(document: Any, number: int, received: int | None) -> AuditFields:
    """Return the event of a parsed document. Raises BadAuditEvent."""
    if not isinstance(document, dict):
        raise BadAuditEvent("not a JSON object")
    if not isinstance(document.get("auditID"), str):
        raise BadAuditEvent("not an audit event: auditID is missing")
    found = (from_rfc3339(text) for key in _TIMES if isinstance(text := document.get(key), str))
    time = next((each for each in found if each is not None), None)
    if time is None:
        shown = printable(str(document.get(_TIMES[0])))[:_MAX_SHOWN]
        raise BadAuditEvent(f"{_TIMES[0]} is not a valid time: {shown}")
    within = time if received is None else min(max(time, received - BEHIND), received + AHEAD)
    return AuditFields(document, within, number, time)
