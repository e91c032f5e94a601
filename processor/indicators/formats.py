"""Files of indicators: text, CSV, STIX 2.1 bundles and MISP's JSON in, entries and what is wrong with others out.

A file comes from somebody else's server. It is bounded in bytes before it is decoded, an entry that can't be used is
reported with its place, and the rest is read. Pure: no file is opened.
"""

import json
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import PurePosixPath
from typing import Any, Literal

from foundation.quantities import from_rfc3339
from processor.indicators.tables import Entry, Kind

Format = Literal["text", "csv", "stix", "misp"]

MAX_BYTES = 256 << 20
"""The most bytes of a text or CSV file: a million lines of 256 bytes."""
MAX_JSON_BYTES = 64 << 20
"""The most bytes of a JSON file, which is read as a whole."""
_MAX_LINE = 64 << 10
_MAX_DESCRIPTION = 200
_MAX_SHOWN = 60
_MAX_PATTERN = 4096
_NS = 1_000_000_000
_NEVER = 0xFFFF_FFFF
"""Later than any expiry that an entry can have, s since the epoch."""
COLUMNS = ("value", "expires", "description")
"""What the columns of a CSV file can mean."""


@dataclass(frozen=True, slots=True)
class RejectedEntry:
    """Something in a file that is not an entry."""

    line: int
    """From 1; 0 for the whole file."""
    column: int
    reason: str
    shown: str = ""
    """What is there, which nobody may see unless the file is a list: it could be any file of this host."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry and its place in the file."""

    line: int
    column: int
    entry: Entry


Read = Iterator[Placed | RejectedEntry]


BY_SUFFIX: Mapping[str, Format] = {".csv": "csv", ".txt": "text", ".list": "text", ".netset": "text", ".ipset": "text"}
"""The formats that names show."""


def format_of(name: str, beginning: bytes) -> Format:
    """Return the format of a file, by its name or its first bytes."""
    found = BY_SUFFIX.get(PurePosixPath(name).suffix)
    if found is not None:
        return found
    if not beginning.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[")):
        return "text"
    return "stix" if re.search(rb'"type"\s*:\s*"bundle"|"spec_version"|"objects"', beginning) else "misp"


def read_entries(data: BufferedIOBase, form: Format, kind: Kind, columns: Mapping[str, str]) -> Read:
    """Yield the entries of a file that are of a kind, and what is wrong with others.

    Args:
        data: the file.
        form: its format.
        kind: of a STIX or MISP file, which have several kinds, entries of others are left out.
        columns: names of a CSV file's columns, by what they mean.
    """
    if form == "text":
        return _of_text(data)
    if form == "csv":
        return _of_csv(data, columns)
    return _of_json(data, kind, _of_stix if form == "stix" else _of_misp)


def _lines(data: BufferedIOBase) -> Iterator[tuple[int, str | RejectedEntry]]:
    number, size = 0, 0
    while line := data.readline(_MAX_LINE):
        number += 1
        size += len(line)
        if size > MAX_BYTES:
            yield number, RejectedEntry(number, 1, f"the file has more than {MAX_BYTES:,} bytes: the rest is not read")
            return
        if len(line) == _MAX_LINE and not line.endswith(b"\n"):
            yield number, RejectedEntry(number, 1, f"the line has {_MAX_LINE:,} bytes or more")
            while (rest := data.readline(_MAX_LINE)) and not rest.endswith(b"\n"):
                size += len(rest)
                if size > MAX_BYTES:
                    break
            continue
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            yield number, RejectedEntry(number, error.start + 1, "the line is not UTF-8")


_COMMENT = re.compile(r"(?:^|\s+)(?:#|;|//)\s*")


def _of_text(data: BufferedIOBase) -> Read:
    """Read one entry a line; what follows `#`, `;` or `//` describes it, as in the lists of Spamhaus."""
    for number, line in _lines(data):
        if isinstance(line, RejectedEntry):
            yield line
            continue
        text = line.strip()
        comment = _COMMENT.search(text)
        entry, described = (text, "") if comment is None else (text[: comment.start()], text[comment.end() :])
        if entry:
            yield Placed(number, len(line) - len(line.lstrip()) + 1, Entry(entry, 0, _description(described)))


def _of_csv(data: BufferedIOBase, columns: Mapping[str, str]) -> Read:
    """Read rows below a header; lines that begin with `#` are comments."""
    # Imported here, as `gzip` is where lists are read, because most hosts have none: 0.2 MiB.
    import csv  # noqa: PLC0415

    rejected: list[RejectedEntry] = []
    numbers = [0]

    def lines() -> Iterator[str]:
        for number, line in _lines(data):
            numbers[0] = number
            if isinstance(line, RejectedEntry):
                rejected.append(line)
            elif line.strip() and not line.startswith("#"):
                yield line

    rows = csv.reader(lines(), skipinitialspace=True)
    places: dict[str, int] | None = None
    while True:
        row: list[str] | None = None
        try:
            row = next(rows)
        except StopIteration:
            break
        except csv.Error as error:
            rejected.append(RejectedEntry(numbers[0], 1, f"not CSV: {error}"))
        yield from rejected
        rejected.clear()
        if row is None:
            continue
        if places is None:
            names = [name.strip() for name in row]
            wanted = {part: columns.get(part, part) for part in COLUMNS}
            places = {part: names.index(name) for part, name in wanted.items() if name in names}
            missing = [
                name for part, name in wanted.items() if part not in places and (part in columns or part == "value")
            ]
            if missing:
                yield RejectedEntry(
                    numbers[0], 1, f"there is no column {missing[0]!r} among the {len(names)} of the header"
                )
                return
            continue
        yield _of_row(row, places, numbers[0])
    yield from rejected


def _of_row(row: list[str], places: Mapping[str, int], number: int) -> Placed | RejectedEntry:
    def part(name: str) -> str:
        place = places.get(name, len(row))
        return row[place].strip() if place < len(row) else ""

    column = sum(len(each) + 1 for each in row[: places["value"]]) + 1
    try:
        expires = _time(part("expires"))
    except ValueError as error:
        return RejectedEntry(number, column, str(error), part("expires")[:_MAX_SHOWN])
    return Placed(number, column, Entry(part("value"), expires, _description(part("description"))))


def _time(text: Any) -> int:
    """Return when an entry expires, s since the epoch; 0 if it is empty. Raises ValueError."""
    if text in ("", None):
        return 0
    dated = text if isinstance(text, str) else ""
    if re.fullmatch(r"\d{4}-\d\d-\d\d", dated, re.ASCII):
        dated += "T00:00:00Z"
    elif re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", dated, re.ASCII):
        dated = f"{dated.replace(' ', 'T')}Z"
    found = from_rfc3339(dated)
    if found is None:
        raise ValueError("it has a time that is not such as 2026-11-24 or 2026-11-24T14:31:30Z")
    # 0 would mean that it never expires.
    return min(max(found // _NS, 1), _NEVER)


def _description(text: Any) -> str:
    return " ".join(text.split())[:_MAX_DESCRIPTION] if isinstance(text, str) else ""


_DECODER = json.JSONDecoder()
_BLANK = re.compile(r"[ \t\n\r]*")
_DEEPER = frozenset({"response", "Event", "Object"})
"""What contains the objects of MISP: answers of its API, events, and objects of attributes."""
_OBJECTS = frozenset({"objects", "Attribute"})
"""The arrays of objects that may be indicators, of STIX and of MISP."""


def _of_json(data: BufferedIOBase, kind: Kind, read: Callable[[Mapping[str, Any], Kind], Iterator[Entry]]) -> Read:
    raw = data.read(MAX_JSON_BYTES + 1)
    if len(raw) > MAX_JSON_BYTES:
        yield RejectedEntry(0, 0, f"the file has more than {MAX_JSON_BYTES:,} bytes, the limit of JSON files")
        return
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        yield RejectedEntry(raw.count(b"\n", 0, error.start) + 1, 1, "the file is not UTF-8")
        return
    del raw
    at = lines = found = 0
    try:
        revoked = _revoked(text) if _REVOKED.search(text) else {}
        for start, each in _objects(text):
            found += 1
            if revoked and isinstance(each, dict) and (gone := revoked.get(_id(each))) and _version(each) <= gone:
                continue
            lines, at = lines + text.count("\n", at, start), start
            place = (lines + 1, start - text.rfind("\n", 0, start))
            try:
                for entry in read(each, kind) if isinstance(each, dict) else ():
                    yield Placed(*place, entry)
            except ValueError as error:
                yield RejectedEntry(*place, str(error))
    except (ValueError, RecursionError) as error:
        end = getattr(error, "pos", at)
        place = (text.count("\n", 0, end) + 1, end - text.rfind("\n", 0, end))
        yield RejectedEntry(*place, f"not JSON, so the rest is not read: {getattr(error, 'msg', 'a value has no end')}")
    else:
        if not found:
            yield RejectedEntry(1, 1, "it has no objects of a STIX bundle and no attributes of MISP")


_REVOKED = re.compile(r'"revoked"\s*:\s*true')


def _revoked(text: str) -> dict[str, str]:
    """Return when objects of STIX were revoked, by their ids: a bundle may have versions before that as well."""
    found: dict[str, str] = {}
    # What is damaged is reported when the entries are read.
    with suppress(ValueError, RecursionError):
        for _, each in _objects(text):
            if isinstance(each, dict) and each.get("revoked") is True:
                found[_id(each)] = max(_version(each), found.get(_id(each), ""))
    found.pop("", None)
    return found


def _id(item: Mapping[str, Any]) -> str:
    return found if isinstance(found := item.get("id"), str) else ""


def _version(item: Mapping[str, Any]) -> str:
    """Return when a version of an object of STIX was made; versions of one object are written alike, so texts order."""
    return found if isinstance(found := item.get("modified"), str) else ""


_Objects = Generator[tuple[int, Any], None, int]
"""Yields values and their offsets; its result is the offset behind the value that contains them."""


def _objects(text: str) -> Iterator[tuple[int, Any]]:
    """Yield each object that may be an indicator, and its offset: only one is decoded at a time. Raises ValueError."""
    end = yield from _within(text, _skip(text, 0))
    if _skip(text, end) < len(text):
        raise json.JSONDecodeError("Extra data", text, end)


def _within(text: str, at: int) -> _Objects:
    if text[at : at + 1] == "[":
        return (yield from _items(text, at, _within))
    if text[at : at + 1] != "{":
        return _DECODER.raw_decode(text, at)[1]
    at = _skip(text, at + 1)
    while text[at : at + 1] != "}":
        name, end = _DECODER.raw_decode(text, at)
        at = _skip(text, end)
        if text[at : at + 1] != ":":
            raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
        at = _skip(text, at + 1)
        if name in _OBJECTS and text[at : at + 1] == "[":
            end = yield from _items(text, at, _decoded)
        elif name in _DEEPER:
            end = yield from _within(text, at)
        else:
            end = _DECODER.raw_decode(text, at)[1]
        at = _next(text, end, "}")
    return at + 1


def _items(text: str, at: int, read: Callable[[str, int], _Objects]) -> _Objects:
    at = _skip(text, at + 1)
    while text[at : at + 1] != "]":
        end = yield from read(text, at)
        at = _next(text, end, "]")
    return at + 1


def _decoded(text: str, at: int) -> _Objects:
    value, end = _DECODER.raw_decode(text, at)
    yield at, value
    return end


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return at if match is None else match.end()


def _next(text: str, end: int, closing: str) -> int:
    """Return the offset of the next item of an array or object, or of its closing bracket."""
    at = _skip(text, end)
    if text[at : at + 1] == ",":
        return _skip(text, at + 1)
    if text[at : at + 1] != closing:
        raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
    return at


_STIX: Mapping[Kind, frozenset[str]] = {
    "address": frozenset({"ipv4-addr:value", "ipv6-addr:value"}),
    "name": frozenset({"domain-name:value"}),
    "digest": frozenset(f"file:hashes.{name}" for name in ("MD5", "SHA-1", "SHA-256", "SHA-512", "SHA1", "SHA256")),
}
"""The object paths of patterns whose values are of a kind, without quotes."""
_TOKEN = re.compile(
    r"\s*(?:(?P<bracket>[\[\]])|(?P<or>OR)\b|(?P<path>[\w-]+:[\w.'-]+)\s*=\s*'(?P<value>(?:[^'\\]|\\.)*+)')", re.ASCII
)
_ALTERNATIVES = re.compile(r"\[=(?:\|=)*\](?:\|\[=(?:\|=)*\])*")
_NOT_SIMPLE = "its pattern is more than alternatives such as [domain-name:value = 'a.example' OR ipv4-addr:value = '…']"


def _of_stix(item: Mapping[str, Any], kind: Kind) -> Iterator[Entry]:
    """Yield the entries of an object of STIX 2.1; a revoked indicator has none. Raises ValueError."""
    if item.get("type") != "indicator" or item.get("revoked") is True:
        return
    if item.get("pattern_type", "stix") != "stix":
        raise ValueError("its pattern is in another language than that of STIX")
    pattern = item.get("pattern")
    if not isinstance(pattern, str) or len(pattern) > _MAX_PATTERN:
        raise ValueError(f"it has no pattern, or one of more than {_MAX_PATTERN:,} characters")
    values: list[tuple[str, str]] = []
    shape, at, pattern = "", 0, pattern.rstrip()
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None:
            raise ValueError(_NOT_SIMPLE)
        at = token.end()
        shape += token["bracket"] or ("|" if token["or"] else "=")
        if token["path"]:
            values.append((token["path"].replace("'", ""), re.sub(r"\\(.)", r"\1", token["value"])))
    if not _ALTERNATIVES.fullmatch(shape):
        raise ValueError(_NOT_SIMPLE)
    starts, expires = _time(item.get("valid_from")), _time(item.get("valid_until"))
    if not any(path in paths for path, _ in values for paths in _STIX.values()):
        raise ValueError("its pattern compares nothing that a list can have: addresses, names of hosts or digests")
    for path, value in values:
        if path in _STIX.get(kind, ()):
            yield Entry(value, expires, _description(item.get("name")), starts)


_MISP: Mapping[Kind, frozenset[str]] = {
    "address": frozenset({"ip-src", "ip-dst", "ip"}),
    "name": frozenset({"domain", "hostname"}),
    "digest": frozenset({"md5", "sha1", "sha256", "sha512"}),
}
"""The types of attributes whose values are of a kind; in a composite type, there is a bar between two."""


def _of_misp(item: Mapping[str, Any], kind: Kind) -> Iterator[Entry]:
    """Yield the entries of an attribute of MISP; those that are deleted or not meant for detection have none."""
    if item.get("to_ids", True) is not True or item.get("deleted") is True:
        return
    kinds, values = (part.split("|") if isinstance(part, str) else [] for part in (item.get("type"), item.get("value")))
    if not kinds or not values:
        raise ValueError("the attribute has no type or value")
    for each, value in zip(kinds, values, strict=False):
        if each in _MISP.get(kind, ()):
            yield Entry(value.strip(), 0, _description(item.get("comment") or item.get("category")))
