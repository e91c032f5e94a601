"""Splits JSON documents into single audit events, as raw text: their content is checked where they are evaluated.

An event that is nested too deeply or is too large must not take the others of its document with it: users choose the
content of some events, and could hide others that way.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from foundation.errors import LannerError
from processor.fields.json.cloud_logging import audit_event, is_log_entry
from processor.fields.json.documents import MAX_EVENTS
from processor.fields.json.parsing import is_large, shortened

_DECODE = json.JSONDecoder().raw_decode
_DECODE_LONG = json.JSONDecoder(parse_int=str).raw_decode
"""Reads numbers of thousands of digits."""
_SPACE = re.compile(r"[ \t\r\n]*")
_ITEMS, _RECORDS, _LOG_EVENTS = "items", "records", "logEvents"
_LISTS = (_ITEMS, _RECORDS, _LOG_EVENTS)
_AUDIT_CATEGORY = "kube-audit"


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
    try:
        try:
            return _Document(_text(document)).events()
        except RecursionError:
            # Below the levels that are left, each event is still too deep, so that it is marked where it is evaluated.
            return _Document(_text(shortened(document, is_event=False))).events()
    except IndexError:
        raise BadDocument("not JSON: it ends within a value") from None
    except json.JSONDecodeError as error:
        raise BadDocument(f"not JSON: {error}") from None


def _text(document: bytes) -> str:
    return document.decode("utf-8", "surrogateescape")


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
        count = 0
        while self._text[self._at] != "]":
            count += 1
            if count > MAX_EVENTS:
                raise BadDocument(f"more than {MAX_EVENTS:,} events in one document")
            yield self._value()
            self._skip_space()
            if self._text[self._at] != "]":
                self._expect(",")
        self._at += 1

    def _value(self) -> tuple[Any, str]:
        """Return the next value and its text. Raises RecursionError if it is nested too deeply."""
        start = self._at
        value, self._at = _decode(self._text, start)
        return value, self._text[start : self._at]

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


def _decode(text: str, start: int = 0) -> tuple[Any, int]:
    try:
        return _DECODE(text, start)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return _DECODE_LONG(text, start)


def _of_text(text: str) -> Iterator[RawEvent]:
    """Yield the event of a text in an envelope, unless it is an entry of another log."""
    try:
        yield from _raw(_parsed(text), text)
    except RecursionError:
        text = _text(shortened(_encoded(text)))
        yield from _raw(_parsed(text), text)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _raw(value: Any, text: str) -> Iterator[RawEvent]:
    if is_log_entry(value):
        if (value := audit_event(value)) is None:
            return
        text = json.dumps(value, ensure_ascii=False)
    audit_id = _member(value, "auditID")
    key = audit_id.encode("utf-8", "replace") if isinstance(audit_id, str) else None
    encoded = _encoded(text)
    yield RawEvent(key, shortened(encoded) if is_large(encoded) else encoded)


def _encoded(text: str) -> bytes:
    # Texts within an envelope can contain lone surrogates, others undecodable bytes.
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")
