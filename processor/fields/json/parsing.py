"""Parses the JSON text of an event, within limits, and finds values of the document by path.

A text that is nested too deeply or is too large to be decoded is shortened first. Decoding is recursive and takes many
times the memory of the text. Here, C code counts the brackets of one piece of text after the other, in linear time;
other threads run in between.
"""

import json
import re
from array import array
from collections.abc import Iterable, Iterator
from itertools import accumulate, compress
from typing import Any

from foundation.errors import LannerError
from foundation.text import printable

MAX_EVENT_BYTES = (4 << 20) - (64 << 10)
"""A message of 4 MiB has a key and headers as well; an API server accepts objects of up to 3 MiB."""
MAX_CONTAINERS = MAX_EVENT_BYTES >> 4
"""Limit of the arrays and objects of an event: they take most of the time and memory that decoding takes."""
MAX_TEXT_LEVELS = 256
"""The levels that are left of a text; Python's decoder reads almost a thousand, on an empty stack."""
LEFT_OUT = "lanner/left out"
"""The member that states why others of the event are missing."""
TOO_LARGE = f"more than {MAX_EVENT_BYTES:,} bytes or {MAX_CONTAINERS:,} arrays and objects"
MAX_DEPTH = 128
"""Objects in clusters are nested about a dozen levels deep; API servers accept 10,000 levels."""
TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
_CONTAINERS = (dict, list)
MAX_SHOWN = 60
_MAX_DIGITS = 300
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_MEMBERS = 1000
"""All further members of an object are left out together, if they are."""
_PIECE_BYTES = 4 << 10
_STEPS = bytes({"[": 1, "{": 1, "]": 255, "}": 255}.get(chr(byte), 0) for byte in range(256))
_NO_BRACKETS = bytes(byte for byte, step in enumerate(_STEPS) if not step)
_CLOSES = bytes(chr(byte) in "]}" for byte in range(256))
_ENDS = bytes(chr(byte) in "[]{}," for byte in range(256))
_NOT = bytes([1, 0]) + bytes(254)
_END = re.compile(b"\x01")

_FAST = json.JSONDecoder(parse_constant=str)
ABSENT = object()
"""No value at a path; None is JSON's null."""


def is_large(text: bytes) -> bool:
    """Return whether a text may be too large to be decoded; brackets in strings count as well."""
    # Brackets of a shorter one need not be counted.
    return len(text) > MAX_CONTAINERS and max(len(text), brackets(text) << 4) > MAX_EVENT_BYTES


def brackets(text: bytes, start: int = 0, end: int | None = None) -> int:
    """Count the brackets that open an array or an object, those in strings included."""
    return text.count(b"{", start, end) + text.count(b"[", start, end)


def shortened(text: bytes, *, is_event: bool = True) -> bytes:
    """Return a text shortened as `ShortenedText` does; the arguments are the same."""
    short = ShortenedText(is_event=is_event)
    short.add(text)
    return short.finish()


class ShortenedText:
    """Reads an event, and takes no more memory than one may have.

    Arrays and objects that are nested too deeply become empty. If the rest is too large, the largest members are left
    out, and a member is added that states it. What is no object is replaced by one with that member alone.
    """

    def __init__(self, *, is_event: bool = True) -> None:
        """Begin with no text.

        is_event: leave out members if it is too large; else it may be a list of events, which are not left out.
        """
        self._is_event = is_event
        self._depth = 0
        self._is_in_string = False
        self._rest = b""
        """A backslash, if the text ends with one that escapes what follows."""
        self._before: bytes | None = None
        """The text up to the bracket that opens the object."""
        self._is_array = False
        self._members: list[tuple[int, bytes]] = []
        """Their weights and texts."""
        self._end = b""
        self._last: list[bytes] = []
        """The text behind the last bracket or comma of the object itself."""
        self._last_weight = 0
        self._weight = 0
        self._is_left_out = False
        """True if that member is too large."""
        self._is_short = False
        self._has_failed = False

    def add(self, text: bytes) -> None:
        """Read further text."""
        for start in range(0, len(text), _PIECE_BYTES):
            if not self._has_failed:
                self._read(self._rest + text[start : start + _PIECE_BYTES])

    def finish(self) -> bytes:
        """Return the text that is left; it is valid if the whole text is."""
        reason = json.dumps({LEFT_OUT: TOO_LARGE}).encode()
        if self._has_failed:
            return reason
        rest = b"".join(self._last) + self._rest
        if self._before is None:
            return rest
        members = [text for _, text in self._members]
        if self._is_short and self._end:
            members = [*filter(bytes.strip, members), reason[1:-1]]
        return b"".join((self._before, b",".join(members), self._end, b"," * (not self._end), rest))

    def _read(self, text: bytes) -> None:
        # Without escaped characters, each quotation mark begins or ends a string.
        masked = text.replace(rb"\\", b"..").replace(rb"\"", b"..")
        self._rest = b"\\" if masked.endswith(b"\\") else b""
        size = len(text) - len(self._rest)
        parts = masked[:size].split(b'"')
        strings = slice(not self._is_in_string, None, 2)
        parts[strings] = [bytes(len(part)) for part in parts[strings]]
        self._is_in_string ^= len(parts) % 2 == 0
        plain, text = b" ".join(parts), text[:size]
        steps = plain.translate(_STEPS, _NO_BRACKETS)
        depths = list(accumulate(array("b", steps), initial=self._depth))
        low, high = min(depths), max(depths)
        if low > 1 and high <= MAX_TEXT_LEVELS:
            self._keep(text, steps.count(b"\x01"))
        elif low <= MAX_TEXT_LEVELS:
            self._read_apart(text, plain)
        self._depth = depths[-1]

    def _read_apart(self, text: bytes, plain: bytes) -> None:
        """Read a text of which not all belongs to one member. plain: the text without the content of strings."""
        depths = list(accumulate(array("b", plain.translate(_STEPS)), initial=self._depth))
        ends = b""
        if self._is_event:
            has_members = len(self._members) < _MAX_MEMBERS and not self._is_array
            ends = _all(_pairs(map((2).__gt__, depths)), plain.translate(_ENDS if has_members else _CLOSES))
        kept = _pairs(map(MAX_TEXT_LEVELS.__lt__, depths)).translate(_NOT)
        text, ends = bytes(compress(text, kept)), bytes(compress(ends, kept))
        start = 0
        for found in _END.finditer(ends):
            self._keep(text[start : found.start()], brackets(text, start, found.start()))
            self._end_member(text[found.start() : found.end()])
            start = found.end()
        self._keep(text[start:], brackets(text, start))

    def _keep(self, text: bytes, containers: int) -> None:
        """Add a text to the last member, if it is not too large yet."""
        if self._is_left_out:
            return
        weight = max(len(text), containers << 4)
        self._last.append(text)
        self._last_weight += weight
        self._weight += weight
        while self._is_event and self._weight > MAX_EVENT_BYTES and not self._has_failed:
            self._leave_out()

    def _leave_out(self) -> None:
        heaviest = max(range(len(self._members)), key=lambda index: self._members[index][0], default=-1)
        weight = max(self._last_weight, self._members[heaviest][0] if heaviest >= 0 else 0)
        if self._before is None or self._is_array or self._end:
            self._has_failed = True
        elif weight == self._last_weight:
            self._is_left_out = True
            self._last, self._last_weight = [], 0
        else:
            del self._members[heaviest]
        self._weight -= weight
        self._is_short = True

    def _end_member(self, character: bytes) -> None:
        """End the last member. character: the bracket or comma of the object behind it."""
        if self._end:
            self._last.append(character)
            return
        text, weight = b"".join(self._last), self._last_weight
        self._last, self._last_weight = [], 0
        if self._before is None:
            self._before = text + character
            self._is_array = character == b"["
            return
        if not self._is_left_out:
            self._members.append((weight, text))
        self._is_left_out = False
        self._end = character.strip(b",")


def _pairs(flags: Iterable[bool]) -> bytes:
    """Return which flags are true and follow a true one; the first is left out."""
    data = bytes(flags)
    return _all(data[:-1], data[1:])


def _all(flags: bytes, others: bytes) -> bytes:
    return (int.from_bytes(flags) & int.from_bytes(others)).to_bytes(len(flags))


class BadJsonEvent(LannerError, ValueError):
    """The text is not an event; the message is the reason."""


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
        BadJsonEvent: it is not JSON.
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
        raise BadJsonEvent(str(error)) from None
    except ValueError as error:
        raise BadJsonEvent(f"not JSON: {error}") from None
    return document, brackets(text) > MAX_DEPTH


class _TwiceError(LannerError):
    """An object has a key twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _TwiceError(f"the key {printable(twice[:MAX_SHOWN])!r} occurs twice in an object")
    return found


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_DIGITS else digits


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


def empty_deep(event: dict[str, Any]) -> bool:
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


def value_at(document: Any, keys: Iterable[str]) -> Any:
    """Return the value at a path of names of members and positions in arrays; ABSENT if there is none."""
    value = document
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, ABSENT)
        elif isinstance(value, list) and key.isascii() and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return ABSENT
    return value


def pointer_keys(pointer: str) -> tuple[str, ...]:
    """Return the path that a JSON pointer (RFC 6901) describes; as in Falco, it may lack the first slash."""
    parts = pointer.removeprefix("/").split("/")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)


def values_below(document: Any, keys: tuple[str, ...], index: int | None = None) -> Iterator[Any]:
    """Yield the values at a path of names of members, each of which applies to all elements of an array.

    index: take only this element of each array on the path.
    """
    value = document
    for position, key in enumerate(keys):
        if isinstance(value, list):
            for element in value if index is None else value[index : index + 1]:
                yield from values_below(element, keys[position:], index)
            return
        if not isinstance(value, dict) or key not in value:
            return
        value = value[key]
    yield value


def as_text(value: Any) -> str | None:
    """Return a value as text: strings as they are, others as compact JSON; None for ABSENT."""
    if isinstance(value, str):
        return value
    if value is ABSENT:
        return None
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def as_texts(values: Iterable[Any]) -> tuple[str, ...]:
    """Return the texts of values."""
    return tuple(text for value in values if (text := as_text(value)) is not None)


def elements(value: Any) -> list[Any]:
    """Return the elements of an array; an empty list for any other value."""
    return value if isinstance(value, list) else []
