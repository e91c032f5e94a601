"""One version of a fleet's rules as one message.

The bytes come from anyone who may write to the topic, so this module checks names and sizes once; later code can rely
on every file name being safe.

A release adds fields at the end of the schema, with defaults, and keeps the header of format 1. A reader ignores
fields that it doesn't know, and uses the defaults of fields that are missing. The schema is not looked up in the topic
of schemas: a writer to that topic must not decide what signed bytes mean. A change that readers must not ignore needs
a new format with another header.
"""

import io
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from importlib.resources import files
from typing import Any, Literal

import fastavro
from fastavro.schema import parse_schema

from foundation.errors import LannerError
from schemas.filter import is_version

PUBLISHED_RULES_SCHEMA = json.loads(files("schemas").joinpath("published_rules.avsc").read_text(encoding="utf-8"))
_FIELDS = [(each["name"], parse_schema(each["type"]), each) for each in PUBLISHED_RULES_SCHEMA["fields"]]
_LATER = ("indicators",)
"""Fields of later releases, which are left out if they are empty: so versions without them stay the same."""
FORMAT_1 = b"\xc3\x01" + bytes.fromhex("7bef1bd242b8405a")
"""The header of a message: the fingerprint of the first release of the schema."""
FORMAT_1_SCHEMA = PUBLISHED_RULES_SCHEMA | {
    "fields": [each for each in PUBLISHED_RULES_SCHEMA["fields"] if each["name"] not in _LATER]
}
"""The first release of the schema, by which other consumers read messages; what follows its fields is ignored."""

MAX_BYTES = 3 << 20
"""Limit of all files together; the topic accepts messages of 4 MiB."""
MAX_FILES = 1000
MAX_LINES = 200
"""Limit of the lines of the difference."""
_MAX_TEXT = 500
MAX_AHEAD = 86_400 * 10**9
"""How far in the future a version may be dated, ns: nothing older could be published after it."""
_LATEST = 4_102_444_800_000_000_000
"""The year 2100, ns."""
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,120}\.(?:ya?ml|py)")
_INDICATOR_FILE = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,120}/){0,5}[A-Za-z0-9_][A-Za-z0-9._-]{0,120}")


def is_indicator_file(name: str) -> bool:
    """Return whether a file of indicators can be published by a name: it stays below the folder of the rule file."""
    return _INDICATOR_FILE.fullmatch(name) is not None and not name.endswith((".yaml", ".yml"))


class BadRules(LannerError, ValueError):
    """The bytes are not a version of rules, or a value in it is out of range."""


@dataclass(frozen=True, slots=True)
class PublishedSwitch:
    """One switch that enables or disables rules."""

    enable: bool
    by: Literal["rule", "tag"]
    pattern: str


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One rule file, or one file of indicators."""

    name: str
    """ASCII letters and digits, periods, hyphens and underscores; of a rule file without a directory."""
    text: bytes


@dataclass(frozen=True, slots=True)
class PublishedRules:
    """One version of the rules: the files, who published them, when, and from which host."""

    files: tuple[PublishedFile, ...]
    """In the order in which they are loaded."""
    switches: tuple[PublishedSwitch, ...] = ()
    priority: str = "debug"
    """Rules of a lower priority are not loaded."""
    publisher: str = ""
    host: str = ""
    comment: str = ""
    published: int = 0
    """Wall clock of the publisher, ns."""
    previous: str = ""
    """The previous version."""
    difference: tuple[str, ...] = ()
    """The changes since the previous version, as the publisher reported them."""
    version: str = ""
    indicators: tuple[PublishedFile, ...] = ()
    """The files of indicators that the rule files name by relative paths, compressed."""

    def named(self, now: int, newest: int = 0) -> "PublishedRules":
        """Return the rules with their time of publishing and their version set; times are wall clock, ns.

        The new time is later than that of the newest known version, even if the clock is not.
        """
        # One dated in the future is no processor's, and later versions must not follow it there.
        published = max(now, newest + 1) if newest <= now + MAX_AHEAD else now
        stamp = datetime.fromtimestamp(published / 1e9, UTC).strftime("%Y%m%d-%H%M%S")
        made = replace(self, published=published, version="")
        return replace(made, version=f"{stamp}-{blake2b(_encoded(made), digest_size=4).hexdigest()}")

    def same_rules(self, other: "PublishedRules") -> bool:
        """Return whether another version has the same files, switches, priority and indicators."""
        mine, theirs = ((each.files, each.switches, each.priority, each.indicators) for each in (self, other))
        return mine == theirs


def safe_names(names: Iterable[str]) -> list[str]:
    """Return a unique name that is safe to write for each file, as close as possible to its own."""
    given: dict[str, None] = {}
    for name in names:
        suffix = ".py" if name.endswith(".py") else ".yaml"
        stem = re.sub(r"\.(?:ya?ml|py)$", "", name)
        stem = re.sub(r"[^A-Za-z0-9._-]", "_", stem).lstrip(".-")[:100] or "rules"
        candidate, number = f"{stem}{suffix}", 2
        while candidate in given:
            candidate, number = f"{stem}-{number}{suffix}", number + 1
        given[candidate] = None
    return list(given)


def encode_rules(rules: PublishedRules) -> bytes:
    """Encode a version (Avro single-object encoding).

    Raises:
        BadRules: it is too large for a message, or a file name is not valid.
    """
    _check(rules)
    return _encoded(rules)


def decode_rules(data: bytes) -> PublishedRules:
    """Decode and check a version.

    Raises:
        BadRules: the bytes are not a valid version; the message gives the reason.
    """
    if not data.startswith(FORMAT_1):
        raise BadRules(_why_not(data))
    stream = io.BytesIO(data[len(FORMAT_1) :])
    row: dict[str, Any] = {}
    try:
        for name, kind, field in _FIELDS:
            is_there = stream.tell() < len(data) - len(FORMAT_1) or "default" not in field
            row[name] = fastavro.schemaless_reader(stream, kind, None) if is_there else field["default"]
    except Exception as error:  # noqa: BLE001  fastavro may raise anything
        raise BadRules(f"not decodable: {error or type(error).__name__}") from None
    row["switches"] = tuple(PublishedSwitch(**each) for each in row["switches"])
    for part in ("files", "indicators"):
        row[part] = tuple(PublishedFile(**each) for each in row[part])
    row["difference"] = tuple(row["difference"])
    rules = PublishedRules(**row)
    _check(rules)
    if not is_version(rules.version):
        raise BadRules("its version does not have the form of a version")
    return rules


def _why_not(data: bytes) -> str:
    if data.startswith(FORMAT_1[:2]) and len(data) > len(FORMAT_1):
        return (
            f"it has a format that this release doesn't know (fingerprint {data[2 : len(FORMAT_1)].hex()}): upgrade "
            "Lanner here, or publish the files with the release that runs here"
        )
    return "the bytes do not have the header of a version of rules"


def _check(rules: PublishedRules) -> None:
    if not rules.files:
        raise BadRules("it holds no files")
    files = (*rules.files, *rules.indicators)
    if len(files) > MAX_FILES:
        raise BadRules(f"it holds {len(files)} files; the limit is {MAX_FILES}")
    size = sum(len(file.text) for file in files)
    if size > MAX_BYTES:
        compressed = ", those of indicators compressed" if rules.indicators else ""
        raise BadRules(f"its files have {size} bytes together{compressed}; the limit is {MAX_BYTES}")
    for file in rules.indicators:
        if not is_indicator_file(file.name):
            raise BadRules(f"a file of indicators is named {file.name[:100]!r}")
    for file in rules.files:
        if not _FILE_NAME.fullmatch(file.name):
            raise BadRules(f"a file is named {file.name[:100]!r}; a name may have letters, digits and . _ - only")
    if not 0 <= rules.published < _LATEST:
        raise BadRules("its time of publishing is not a valid time")
    if len({file.name for file in files}) < len(files):
        raise BadRules("two of its files have the same name")
    texts = (rules.publisher, rules.host, rules.comment, *rules.difference, *(each.pattern for each in rules.switches))
    if len(rules.difference) > MAX_LINES + 1 or len(rules.switches) > MAX_FILES or max(map(len, texts)) > _MAX_TEXT:
        raise BadRules(f"its texts are longer than {_MAX_TEXT} characters, or too many")


def _encoded(rules: PublishedRules) -> bytes:
    buffer = io.BytesIO()
    buffer.write(FORMAT_1)
    row = asdict(rules)
    for name, kind, _ in _FIELDS:
        if row[name] or name not in _LATER:
            fastavro.schemaless_writer(buffer, kind, row[name])
    return buffer.getvalue()
