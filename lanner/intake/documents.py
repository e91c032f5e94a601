"""Reads JSON documents, and splits them into single audit events: raw text, checked where it is evaluated.

An event that is nested too deeply or is too large must not take the others of its document with it: users choose the
content of some events, and could hide others that way.

The body of a request is decompressed within limits as it arrives: a few kilobytes can become gigabytes.
"""

import json
import re
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
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
MAX_BODY_BYTES = 16 << 20
MAX_HELD_BYTES = 64 << 20
"""Limit of all bodies together that are being read or stored."""
_GZIP = 31
"""The window bits of zlib that require gzip's format."""


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


class BodyTooLarge(LannerError):
    """The body is larger than the limit, before or after decompression."""


class BadBody(LannerError, ValueError):
    """The body is not in the encoding that its header names."""


class NoRoom(LannerError):
    """Other bodies take all the memory that there is for bodies."""


def unpacked(data: bytes, limit: int = MAX_BODY_BYTES) -> bytes:
    """Return a message decompressed, if it is one gzip stream within the limit, else as it is."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    inflate = zlib.decompressobj(_GZIP)
    try:
        found = inflate.decompress(data, limit + 1)
    except zlib.error:
        return data
    return found if inflate.eof and len(found) <= limit else data


class BodyMemory:
    """The bytes of all bodies in memory. A client that sends slowly makes room for one with fewer bytes."""

    def __init__(self, limit: int = MAX_HELD_BYTES) -> None:
        """Start with none. limit: the largest number of bytes."""
        self.held = 0
        self._limit = limit
        self._arriving: dict[RequestBody, None] = {}
        """Oldest first."""

    def begin(self, body: "RequestBody") -> None:
        """Note that a body begins to arrive."""
        self._arriving[body] = None

    def end(self, body: "RequestBody") -> None:
        """Note that a body has arrived, or never will."""
        self._arriving.pop(body, None)

    def take(self, body: "RequestBody", size: int) -> None:
        """Reserve more bytes for a body. Raises NoRoom."""
        while self.held + size > self._limit:
            holders = Counter[str]()
            for each in self._arriving:
                holders[each.client] += each.size
            largest, held = holders.most_common(1)[0]
            if held <= holders[body.client] + size:
                raise NoRoom
            next(each for each in self._arriving if each.client == largest and each.size).drop()
        self.held += size

    def release(self, size: int) -> None:
        """Release bytes."""
        self.held -= size


class RequestBody:
    """One body; its memory is reserved until it is released."""

    def __init__(self, memory: BodyMemory, limit: int = MAX_BODY_BYTES, client: str = "") -> None:
        """Start empty.

        Args:
            memory: where its bytes count.
            limit: the most bytes, compressed and decompressed.
            client: who sends it.
        """
        self.client = client
        self.size = 0
        self._memory = memory
        self._limit = limit
        self._parts: list[bytes] = []
        self._is_dropped = False

    async def read(self, chunks: AsyncIterator[bytes], encoding: str) -> bytes:
        """Return the whole body, decompressed.

        Args:
            chunks: the body as it arrives.
            encoding: ``gzip``, ``identity`` or empty.

        Raises:
            BodyTooLarge: it is too large.
            BadBody: the encoding is unknown, or the body is not in it.
            NoRoom: other bodies use the memory, or it was needed for another client's.
        """
        if encoding not in ("", "identity", "gzip"):
            raise BadBody("the Content-Encoding must be gzip or identity")
        inflate = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
        received = 0
        self._memory.begin(self)
        try:
            async for chunk in chunks:
                received += len(chunk)
                if received > self._limit:
                    raise BodyTooLarge
                self._add(chunk if inflate is None else self._inflated(inflate, chunk))
        finally:
            self._memory.end(self)
        if inflate is not None and (not inflate.eof or inflate.unused_data):
            raise BadBody("the body is not one gzip stream")
        return b"".join(self._parts)

    def release(self) -> None:
        """Release the memory."""
        self._memory.release(self.size)
        self.size = 0
        self._parts.clear()

    def drop(self) -> None:
        """Release the memory before the body has arrived; reading it fails."""
        self._is_dropped = True
        self.release()

    def _inflated(self, inflate: "zlib._Decompress", chunk: bytes) -> bytes:
        try:
            return inflate.decompress(chunk, self._limit - self.size + 1)
        except zlib.error as error:
            raise BadBody(f"the body is not gzip: {error}") from None

    def _add(self, part: bytes) -> None:
        if self._is_dropped:
            raise NoRoom
        if self.size + len(part) > self._limit:
            raise BodyTooLarge
        self._memory.take(self, len(part))
        self.size += len(part)
        self._parts.append(part)
