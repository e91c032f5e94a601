"""Splits JSON documents into single audit events, as raw text: their content is checked where they are evaluated.

An event that can't be parsed, such as one nested too deeply, must not take the others of its document with it: users
choose the content of some events, and could hide others that way.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from processor.audit.events import MAX_EVENT_BYTES
from processor.fields.audit.cloud_logging import audit_event, is_log_entry
from schemas.errors import LannerError

_ROOM_BYTES = 64 << 10
"""For the key and the headers of a message."""
_DECODE = json.JSONDecoder().raw_decode
_SPACE = re.compile(r"[ \t\r\n]*")
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]', re.DOTALL)
_ITEMS, _RECORDS, _LOG_EVENTS = "items", "records", "logEvents"
_LISTS = (_ITEMS, _RECORDS, _LOG_EVENTS)
_OBJECTS = ("requestObject", "responseObject")
_AUDIT_CATEGORY = "kube-audit"
TRUNCATED = "audit.k8s.io/truncated"
"""The annotation by which an API server marks an event without its objects. Source: its truncate backend."""


class BadDocument(LannerError, ValueError):
    """The text is not a document of audit events; the message is the reason."""


@dataclass(frozen=True, slots=True)
class RawEvent:
    """One event as received."""

    key: bytes | None
    """Its auditID; None if it has none that could be read."""
    value: bytes


def split(document: bytes) -> list[RawEvent]:
    """Return the events of a document, in order.

    Args:
        document: an event, an EventList, an array of events, or the envelope of Azure's Event Hubs or of Amazon's
            CloudWatch Logs. Each event may also be an entry of Google's Cloud Logging, of which an event is made; an
            entry that is not about a request to an API server is left out.

    Raises:
        BadDocument: it is not JSON, or none of these.
    """
    text = document.decode("utf-8", "surrogateescape")
    try:
        return _Document(text).events()
    except IndexError:
        raise BadDocument("not JSON: it ends within a value") from None
    except json.JSONDecodeError as error:
        raise BadDocument(f"not JSON: {error}") from None


class _Document:
    """Reads a document from its beginning to its end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def events(self) -> list[RawEvent]:
        """Return the events."""
        self._skip_space()
        if self._text[self._at] == "[":
            found = [each for value, raw in self._elements() for each in _raw(value, raw)]
        elif self._text[self._at] == "{":
            found = self._of_object()
        else:
            raise BadDocument("neither an object nor an array")
        self._skip_space()
        if self._at != len(self._text):
            raise BadDocument(f"not JSON: more text after the document, at {self._at:,}")
        return found

    def _of_object(self) -> list[RawEvent]:
        start = self._at
        known: dict[str, Any] = {}
        lists: dict[str, list[RawEvent]] = {}
        self._at += 1
        self._skip_space()
        while self._text[self._at] != "}":
            key, _ = self._value()
            if not isinstance(key, str):
                raise BadDocument(f"not JSON: a name is expected at {self._at:,}")
            self._expect(":")
            if key in _LISTS and self._text[self._at] == "[":
                # For a single event, an unknown member of this name is none of the lists.
                lists[key] = list(self._of_list(key))
            else:
                value, _ = self._value()
                if key in _LISTS and value is None:
                    lists[key] = []
                known[key] = value
            self._skip_space()
            if self._text[self._at] != "}":
                self._expect(",")
        self._at += 1
        if isinstance(known.get("auditID"), str) or is_log_entry(known):
            return list(_raw(known, self._text[start : self._at]))
        if len(lists) != 1:
            raise BadDocument("neither an audit event nor a list of them")
        return next(iter(lists.values()))

    def _of_list(self, key: str) -> Iterator[RawEvent]:
        for value, raw in self._elements():
            if key == _ITEMS:
                yield from _raw(value, raw)
                continue
            text = _in_record(value) if key == _RECORDS else _member(value, "message")
            if isinstance(text, str):
                yield from _of_text(text)
            elif key != _RECORDS or text is not None:
                yield RawEvent(None, _encoded(raw))

    def _elements(self) -> Iterator[tuple[Any, str]]:
        """Yield the elements of an array, each with its text."""
        self._at += 1
        self._skip_space()
        while self._text[self._at] != "]":
            yield self._value()
            self._skip_space()
            if self._text[self._at] != "]":
                self._expect(",")
        self._at += 1

    def _value(self) -> tuple[Any, str]:
        """Return the next value and its text; the value is None if its text is valid but can't be read."""
        start = self._at
        try:
            value, self._at = _DECODE(self._text, start)
        except json.JSONDecodeError:
            raise
        except (RecursionError, ValueError):
            # Nested too deeply, or a number with too many digits.
            value, self._at = None, self._end_of(start)
        return value, self._text[start : self._at]

    def _end_of(self, start: int) -> int:
        if self._text[start] not in "{[":
            raise BadDocument(f"not JSON: a number with too many digits at {start:,}")
        depth = 0
        for token in _TOKEN.finditer(self._text, start):
            depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
            if depth == 0:
                return token.end()
        raise BadDocument("not JSON: it ends within a value")

    def _expect(self, character: str) -> None:
        self._skip_space()
        if self._text[self._at] != character:
            raise BadDocument(f"not JSON: {character!r} is expected at {self._at:,}")
        self._at += 1
        self._skip_space()

    def _skip_space(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = self._at if found is None else found.end()


def _in_record(record: Any) -> Any:
    """Return the event's text in a record of Azure's diagnostic logs; None for records of other logs."""
    category = _member(record, "category")
    if isinstance(category, str) and not category.startswith(_AUDIT_CATEGORY):
        return None
    text = _member(_member(record, "properties"), "log")
    return record if text is None else text


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _of_text(text: str) -> Iterator[RawEvent]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    return _raw(value, text)


def _raw(value: Any, text: str) -> Iterator[RawEvent]:
    if is_log_entry(value):
        if (value := audit_event(value)) is None:
            return
        try:
            text = json.dumps(value, ensure_ascii=False)
        except RecursionError:
            yield RawEvent(None, _encoded(text))
            return
    audit_id = _member(value, "auditID")
    key = audit_id.encode("utf-8", "replace") if isinstance(audit_id, str) else None
    encoded = _encoded(text)
    if len(encoded) > MAX_EVENT_BYTES - _ROOM_BYTES:
        encoded = _truncated(encoded)
    yield RawEvent(key, encoded)


def _encoded(text: str) -> bytes:
    # Texts within an envelope can hold lone surrogates, others undecodable bytes.
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _truncated(text: bytes) -> bytes:
    """Return an event without its objects, which would not fit into a message; who did what remains."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(event, dict):
        return text
    annotations = event.get("annotations")
    known = annotations if isinstance(annotations, dict) else {}
    short = {name: value for name, value in event.items() if name not in _OBJECTS}
    short["annotations"] = {**known, TRUNCATED: "true"}
    return json.dumps(short, ensure_ascii=False).encode("utf-8", "replace")
