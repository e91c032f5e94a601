"""Reads events from JSON, within limits: they come from outside, and users choose their content."""

import json
import re
from collections.abc import Iterator
from typing import Any

from processor.fields.audit.event_fields import AuditFields
from processor.fields.audit.source import KUBERNETES, JsonSource
from processor.hosts.clock_skew import AHEAD, BEHIND
from schemas.errors import LannerError
from schemas.text.printable import printable

MAX_EVENT_BYTES = 4 << 20
"""An API server accepts objects of up to 3 MiB; an event that were skipped for its size would be a way to hide."""
MAX_EVENTS = 10_000
"""Events of one document; a file that CloudTrail writes has hundreds."""
MAX_DEPTH = 128
"""Objects in clusters are nested about a dozen levels deep."""
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
    document = parse(text, unique=source is not KUBERNETES)
    for number, event in enumerate(source.split(document), first_number):
        if number - first_number == MAX_EVENTS:
            raise BadAuditEvent(f"more than {MAX_EVENTS:,} events in one document")
        yield event_of(event, number, received, source, otherwise)


def parse(text: bytes, *, unique: bool = False) -> Any:
    """Parse a JSON document within the limits.

    A number that Python can't represent becomes text, because a document that is refused for one would be a way to
    hide. Half of a surrogate pair becomes U+FFFD, so that alerts can be encoded.

    Args:
        text: the document.
        unique: refuse an object that has a key twice, because readers differ in which of both counts.

    Raises:
        BadAuditEvent: it is not JSON, or exceeds the limits.
    """
    text = text.rstrip()
    if len(text) > MAX_EVENT_BYTES:
        raise BadAuditEvent(f"{len(text):,} bytes, more than the limit of {MAX_EVENT_BYTES:,}")
    try:
        decoded = text.decode()
        document = _decoded(decoded, _UNIQUE if unique else _FAST)
        if "\\u" in decoded and _SURROGATE.search(json.dumps(document, ensure_ascii=False)):
            document = json.loads(_SURROGATE.sub("\ufffd", json.dumps(document, ensure_ascii=False)))
    except RecursionError:
        raise BadAuditEvent(_TOO_DEEP) from None
    except _TwiceError as error:
        raise BadAuditEvent(str(error)) from None
    except ValueError as error:
        raise BadAuditEvent(f"not JSON: {error}") from None
    if text.count(b"{") + text.count(b"[") > MAX_DEPTH and _depth(document) > MAX_DEPTH:
        raise BadAuditEvent(_TOO_DEEP)
    return document


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


def _decoded(text: str, decoder: json.JSONDecoder) -> Any:
    try:
        return decoder.decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # The only other error is that of an integer of thousands of digits; a hook for each would cost all documents.
        return _LONG[decoder].decode(text)


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


def event_of(
    document: Any, number: int, received: int | None, source: JsonSource = KUBERNETES, otherwise: int | None = None
) -> AuditFields:
    """Return the event of a parsed document; the arguments are those of read_events. Raises BadAuditEvent."""
    if not isinstance(document, dict):
        raise BadAuditEvent("not a JSON object")
    if source is KUBERNETES and not isinstance(document.get("auditID"), str):
        raise BadAuditEvent("not an audit event: auditID is missing")
    time = source.time(document)
    if time is None and source is not KUBERNETES:
        time = received if otherwise is None else otherwise
    if time is None:
        shown = printable(str(document.get("stageTimestamp")))[:_MAX_SHOWN]
        raise BadAuditEvent(f"stageTimestamp is not a valid time: {shown}")
    within = time if received is None else min(max(time, received - BEHIND), received + AHEAD)
    return AuditFields(document, within, number, time, source)
