"""Reads events from JSON, within limits: they come from outside, and users choose their content."""

import json
import re
from collections.abc import Iterator
from typing import Any

from processor.audit.shortening import LEFT_OUT, brackets, is_large, shortened
from processor.fields.audit.event_fields import AuditFields
from processor.fields.audit.pointer import value_at
from processor.fields.audit.source import KUBERNETES, JsonSource
from processor.hosts.clock_skew import AHEAD, BEHIND
from schemas.errors import LannerError
from schemas.text.printable import printable

MAX_EVENTS = 10_000
"""Events of one document; a file that CloudTrail writes has hundreds."""
MAX_DEPTH = 128
"""Objects in clusters are nested about a dozen levels deep; API servers accept 10,000 levels."""
TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
TRUNCATED = "audit.k8s.io/truncated"
"""The annotation by which an API server marks an event without its objects. Source: its truncate backend."""
_CONTAINERS = (dict, list)
_MAX_SHOWN = 60
_MAX_DIGITS = 300
_SURROGATE = re.compile("[\ud800-\udfff]")


class BadAuditEvent(LannerError, ValueError):
    """The text is not an event; the message is the reason."""


def read_events(
    text: bytes,
    first_number: int = 0,
    received: int | None = None,
    source: JsonSource = KUBERNETES,
    otherwise: int | None = None,
) -> Iterator[AuditFields]:
    """Yield the events of one JSON document.

    Args:
        text: the document: an event, an array of events, or what else the source splits into events.
        first_number: evt.num of the first event.
        received: when it arrived, ns since the epoch: times far from it are moved to the bounds that apply to the
            clocks of hosts. None if events are their own clock, as in a file.
        source: where it comes from.
        otherwise: the time of events that state none, ns since the epoch; None for when they arrived.

    Raises:
        BadAuditEvent: the document, or an event in it, can't be read; the events before it are valid.
    """
    # An API server writes each key once; what others write may come from a user.
    document, is_nested = parse(text, unique=source is not KUBERNETES)
    left_out = document.get(LEFT_OUT) if isinstance(document, dict) else None
    if left_out is not None and len(document) == 1:
        raise BadAuditEvent(str(left_out))
    for number, event in enumerate(source.split(document), first_number):
        if number - first_number == MAX_EVENTS:
            raise BadAuditEvent(f"more than {MAX_EVENTS:,} events in one document")
        yield event_of(event, number, received, source, otherwise, left_out=left_out, is_nested=is_nested)
    if left_out is not None and source is not KUBERNETES:
        # A member with events may be missing.
        raise BadAuditEvent(f"{left_out}: it was evaluated without its largest members")


def read_event(text: bytes, number: int, received: int) -> AuditFields:
    """Return the Kubernetes audit event that a text is; arguments and errors are those of read_events."""
    document, is_nested = parse(text)
    return event_of(document, number, received, is_nested=is_nested)


def parse(text: bytes, *, unique: bool = False) -> tuple[Any, bool]:
    """Parse a JSON document; one that is too large or nested too deeply is shortened, since users choose the content.

    A number that Python can't represent becomes text, because a document that is refused for one would be a way to
    hide. Half of a surrogate pair becomes U+FFFD, so that alerts can be encoded.

    Args:
        text: the document.
        unique: refuse an object that has a key twice, because readers differ in which of both counts.

    Returns:
        The document, and whether it may be nested too deeply.

    Raises:
        BadAuditEvent: it is not JSON.
    """
    if is_large(text):
        text = shortened(text)
    decoder = _UNIQUE if unique else _FAST
    try:
        try:
            document = _valid(text, decoder)
        except RecursionError:
            document = _valid(shortened(text), decoder)
    except _TwiceError as error:
        raise BadAuditEvent(str(error)) from None
    except ValueError as error:
        raise BadAuditEvent(f"not JSON: {error}") from None
    return document, brackets(text) > MAX_DEPTH


class _TwiceError(LannerError):
    """An object has a key twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _TwiceError(f"the key {printable(twice[:_MAX_SHOWN])!r} occurs twice in an object")
    return found


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_DIGITS else digits


_FAST = json.JSONDecoder(parse_constant=str)
_UNIQUE = json.JSONDecoder(parse_constant=str, object_pairs_hook=_once)
_LONG = {
    _FAST: json.JSONDecoder(parse_constant=str, parse_int=_whole),
    _UNIQUE: json.JSONDecoder(parse_constant=str, parse_int=_whole, object_pairs_hook=_once),
}


def _valid(text: bytes, decoder: json.JSONDecoder) -> Any:
    decoded = text.decode()
    document = _decoded(decoded, decoder)
    if "\\u" in decoded and _SURROGATE.search(json.dumps(document, ensure_ascii=False)):
        return json.loads(_SURROGATE.sub("\ufffd", json.dumps(document, ensure_ascii=False)))
    return document


def _decoded(text: str, decoder: json.JSONDecoder) -> Any:
    try:
        return decoder.decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # The only other error is that of an integer of thousands of digits; a hook for each would cost all documents.
        return _LONG[decoder].decode(text)


def _cut(event: dict[str, Any]) -> bool:
    """Empty what is nested too deeply; return whether there was anything."""
    level: list[Any] = [event]
    for _ in range(MAX_DEPTH):
        if not level:
            return False
        level = [
            child
            for value in level
            for child in (value.values() if isinstance(value, dict) else value)
            if isinstance(child, _CONTAINERS)
        ]
    found = any(level)
    for each in level:
        each.clear()
    return found


def event_of(
    document: Any,
    number: int,
    received: int | None,
    source: JsonSource = KUBERNETES,
    otherwise: int | None = None,
    *,
    left_out: object = None,
    is_nested: bool = True,
) -> AuditFields:
    """Return the event of a parsed document, without what is nested too deeply in it, which is removed from it.

    Args:
        document: the event.
        number: as for read_events, as are received, source and otherwise.
        left_out: why parts of the document in which it was are missing; None if none are.
        is_nested: whether it may be nested too deeply.

    Raises:
        BadAuditEvent: the document is not an event.
    """
    if not isinstance(document, dict):
        raise BadAuditEvent("not a JSON object")
    left_out = document.pop(LEFT_OUT, left_out)
    if source is KUBERNETES and not isinstance(document.get("auditID"), str):
        raise BadAuditEvent(f"not an audit event: {'auditID is missing' if left_out is None else left_out}")
    time = source.time(document)
    if time is None and source is not KUBERNETES:
        time = received if otherwise is None else otherwise
    if time is None:
        shown = printable(str(document.get("stageTimestamp")))[:_MAX_SHOWN]
        raise BadAuditEvent(f"stageTimestamp is not a valid time: {shown}")
    if is_nested and _cut(document):
        left_out = TOO_DEEP if left_out is None else left_out
    elif left_out is None and source is KUBERNETES and value_at(document, ("annotations", TRUNCATED)) == "true":
        left_out = "the API server left out its objects"
    within = time if received is None else min(max(time, received - BEHIND), received + AHEAD)
    reason = "" if left_out is None else printable(str(left_out))[:_MAX_SHOWN]
    return AuditFields(document, within, number, time, source, truncated=reason)
