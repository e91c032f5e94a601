"""Pre-matched events as bytes and back: the value and the key of a message of the ``correlate`` topic."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, get_args

from foundation.errors import LannerError
from processor.matching.pre_match import (
    INDEX_BITS,
    Action,
    Candidate,
    Content,
    EventOrigin,
    Feed,
    Group,
    Notice,
    PreMatch,
    Relay,
    RepeatedAlert,
    StateCommand,
)
from schemas.alert import Value
from schemas.distinct_values import decode_values, encode_values
from schemas.encoding.limits import MAX_SEQUENCE, is_clock
from schemas.encoding.wire import MessageFormat, UnreadableMessage, packaged_schema

_LONG = range(-(2**63), 2**63)


def to_bytes(text: str) -> bytes:
    """Encode a text; halves of surrogate pairs are allowed."""
    return text.encode("utf-8", "surrogatepass")


def to_text(data: bytes) -> str:
    """Decode the result of `to_bytes`; raises UnicodeDecodeError."""
    return data.decode("utf-8", "surrogatepass")


def group_datum(group: tuple[str | None, ...]) -> list[bytes | None]:
    """Return the datum of a group's values."""
    return [None if value is None else to_bytes(value) for value in group]


def group_of(datum: list[bytes | None]) -> tuple[str | None, ...]:
    """Return a group's values from their datum."""
    return tuple(None if value is None else to_text(value) for value in datum)


def values_datum(values: Mapping[str, Value]) -> dict[str, Any]:
    """Return the datum of fields; a number that is too large for a long becomes text."""
    return {name: _plain(value) for name, value in values.items()}


def values_of(datum: Mapping[str, Any]) -> dict[str, Value]:
    """Return fields by name from their datum."""
    return {name: _value(value) for name, value in datum.items()}


def _plain(value: Value) -> Any:
    # Branches of the union are named: trying them in turn would be most of the cost of encoding.
    if isinstance(value, str):
        return "bytes", to_bytes(value)
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, int):
        return ("long", value) if value in _LONG else ("bytes", to_bytes(str(value)))
    if isinstance(value, tuple):
        return [to_bytes(str(item)) for item in value]
    return value


def _value(value: Any) -> Value:
    if isinstance(value, bytes):
        return to_text(value)
    if isinstance(value, list):
        return tuple(to_text(item) for item in value)
    plain: Value = value
    return plain


PRE_MATCH_SCHEMA = packaged_schema("pre_match.avsc")
PRE_MATCH_FORMAT = MessageFormat(PRE_MATCH_SCHEMA, [packaged_schema(f"pre_match.0.{n}.avsc") for n in (3, 2, 1)])
TICK_KEY = b"tick"
"""The key of messages that carry the time instead of an event, so that windows close in quiet partitions."""


class BadPreMatch(LannerError, ValueError):
    """Bytes that are not a valid pre-matched event."""


def group_key(group: Group) -> bytes:
    """Encode a group as a message key, so that all messages of a group are in one partition.

    Args:
        group: its values, each encoded after its length so that no two groups have the same key.
    """
    parts = (b"-" if value is None else b"%d:%s" % (len(data := to_bytes(value)), data) for value in group)
    return b"".join(parts)


def group_of_key(key: bytes) -> Group:
    """Return the group that a message key encodes; any other key is a group of one text."""
    parts: list[str | None] = []
    rest = key
    while rest:
        if rest.startswith(b"-"):
            parts.append(None)
            rest = rest[1:]
            continue
        size, _, value = rest.partition(b":")
        if not size.isdigit() or int(size) > len(value):
            return (to_text(key),)
        parts.append(to_text(value[: int(size)]))
        rest = value[int(size) :]
    return tuple(parts)


def message_of(pre_match: PreMatch) -> tuple[bytes, bytes]:
    """Return key and value of the message for a pre-matched event."""
    return group_key(pre_match.group), encode_pre_match(pre_match)


def encode_pre_match(pre_match: PreMatch) -> bytes:
    """Encode a pre-matched event (Avro single-object encoding)."""
    origin = pre_match.origin
    datum = {
        "origin": {
            "host_id": origin.host_id,
            "boot_id": origin.boot_id,
            "collector_start": origin.collector_start,
            "sequence": origin.sequence,
            "index": origin.index,
        },
        "time": pre_match.time,
        "appended": pre_match.appended,
        "established": pre_match.is_established,
        "hostname": to_bytes(pre_match.hostname),
        "weight": pre_match.weight,
        "group": group_datum(pre_match.group),
        "feeds": [_feed_datum(feed) for feed in pre_match.feeds],
        "candidates": [_candidate_datum(candidate) for candidate in pre_match.candidates],
        "notice": None if pre_match.notice is None else _notice_datum(pre_match.notice),
        "repeated": None if pre_match.repeated is None else _repeated_datum(pre_match.repeated),
        "command": None if pre_match.command is None else _command_datum(pre_match.command),
        "relays": [_relay_datum(relay) for relay in pre_match.relays],
        "via": pre_match.via,
        "earlier": list(map(_earlier_datum, pre_match.earlier)),
        "partial": pre_match.is_partial,
    }
    return PRE_MATCH_FORMAT.encode(datum)


def decode_pre_match(data: bytes) -> PreMatch:
    """Decode a pre-matched event written by this release or an earlier one.

    Raises:
        BadPreMatch: the bytes are not a valid pre-matched event.
    """
    try:
        row: Any = PRE_MATCH_FORMAT.decode(data)
        origin = EventOrigin(**row["origin"])
        _check(origin, row["time"])
        last = PreMatch(
            origin=origin,
            time=row["time"],
            hostname=to_text(row["hostname"]),
            group=group_of(row["group"]),
            weight=row["weight"],
            feeds=tuple(_feed(feed) for feed in row["feeds"]),
            candidates=tuple(_candidate(candidate) for candidate in row["candidates"]),
            appended=row["appended"],
            is_established=row["established"],
            notice=None if row["notice"] is None else _notice(row["notice"]),
            repeated=None if row["repeated"] is None else _repeated(row["repeated"]),
            command=None if row["command"] is None else _command(row["command"]),
            relays=tuple(_relay(relay) for relay in row["relays"]),
            via=row["via"],
            is_partial=row["partial"],
        )
        return replace(last, earlier=tuple(_earlier(last, each) for each in row["earlier"])) if row["earlier"] else last
    except (UnreadableMessage, TypeError, ValueError, AttributeError) as problem:
        raise BadPreMatch(f"not a valid pre-matched event: {problem}") from None


def _earlier_datum(event: PreMatch) -> dict[str, Any]:
    return {
        "index": event.origin.index,
        "time": event.time,
        "weight": event.weight,
        "feeds": [_feed_datum(feed) for feed in event.feeds],
        "matches": [{"term": each.term, "by": group_datum(each.by)} for each in event.candidates],
    }


def _earlier(last: PreMatch, row: dict[str, Any]) -> PreMatch:
    """Return an event that was sent in the message of another."""
    origin = replace(last.origin, index=row["index"])
    _check(origin, row["time"])
    return PreMatch(
        origin,
        row["time"],
        last.hostname,
        last.group,
        tuple(_feed(feed) for feed in row["feeds"]),
        tuple(Candidate(each["term"], group_of(each["by"]), None) for each in row["matches"]),
        last.appended,
        last.is_established,
        row["weight"],
        is_partial=last.is_partial,
    )


def _check(origin: EventOrigin, time: int) -> None:
    """Check that an origin and a time fit into window state. Raises ValueError.

    Detection sends no others, but may have done so before it bounded what it decodes.
    """
    if not (0 <= origin.sequence < MAX_SEQUENCE and 0 <= origin.index < 1 << INDEX_BITS):
        raise ValueError("the position of the event is out of range")
    if not (is_clock(time) and is_clock(origin.collector_start)):
        raise ValueError("a time is out of range")


def _notice_datum(notice: Notice) -> dict[str, Any]:
    return {"kind": notice.kind, "priority": notice.priority, "numbers": notice.numbers, "text": to_bytes(notice.text)}


def _notice(row: dict[str, Any]) -> Notice:
    return Notice(row["kind"], row["priority"], row["numbers"], to_text(row["text"]))


def _repeated_datum(repeated: RepeatedAlert) -> dict[str, Any]:
    return asdict(repeated) | {"values": encode_values(repeated.values)}


def _repeated(row: dict[str, Any]) -> RepeatedAlert:
    return RepeatedAlert(**row | {"values": decode_values(row["values"])})


def _command_datum(command: StateCommand) -> dict[str, Any]:
    return {
        "action": command.action,
        "owner": command.owner,
        "value": None if command.value is None else to_bytes(command.value),
        "everywhere": command.is_everywhere,
    }


def _command(row: dict[str, Any]) -> StateCommand:
    if row["action"] not in get_args(Action):
        raise ValueError(f"unknown command '{row['action']}'")
    value = None if row["value"] is None else to_text(row["value"])
    return StateCommand(row["action"], row["owner"], value, row["everywhere"])


def _feed_datum(feed: Feed) -> dict[str, Any]:
    value = None if feed.value is None else to_bytes(feed.value)
    return {"term": feed.term, "value": value, "kept": values_datum(feed.stored)}


def _feed(row: dict[str, Any]) -> Feed:
    value = row["value"]
    return Feed(row["term"], None if value is None else to_text(value), values_of(row["kept"]))


def _candidate_datum(candidate: Candidate) -> dict[str, Any]:
    if candidate.content is None:
        raise ValueError("a match without content is sent within another event's message only")
    content = candidate.content()
    return {
        "term": candidate.term,
        "texts": [to_bytes(text) for text in content.texts],
        "fields": values_datum(content.fields),
        "by": group_datum(candidate.by),
        "event": values_datum(content.event),
    }


def _candidate(row: dict[str, Any]) -> Candidate:
    texts = tuple(to_text(text) for text in row["texts"])
    content = Content(texts, values_of(row["fields"]), values_of(row["event"]))
    return Candidate(row["term"], group_of(row["by"]), lambda: content)


def _relay_datum(relay: Relay) -> dict[str, Any]:
    return {
        "group": group_datum(relay.group),
        "feeds": [_feed_datum(feed) for feed in relay.feeds],
        "candidates": [_candidate_datum(candidate) for candidate in relay.candidates],
        "relays": [_relay_datum(each) for each in relay.relays],
    }


def _relay(row: dict[str, Any]) -> Relay:
    return Relay(
        group_of(row["group"]),
        tuple(_feed(feed) for feed in row["feeds"]),
        tuple(_candidate(candidate) for candidate in row["candidates"]),
        tuple(_relay(each) for each in row["relays"]),
    )
