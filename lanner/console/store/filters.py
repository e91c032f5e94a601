"""The filters of pages: from and to the query of an address, and from there to conditions of SQL."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Self
from urllib.parse import urlencode

from foundation.quantities import parse_duration
from lanner.errors import BadRequest
from schemas.catalog.priorities import SEVERITY, parse_priority

STATES = ("open", "acknowledged", "muted", "all")
SORTS = ("last", "count", "priority", "first")
MAX_VALUE = 200
DEFAULT_SINCE, ALL_TIME = "24h", "all"


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From a time to another, µs since the epoch; the end is not included."""

    since: int
    until: int | None


@dataclass(frozen=True, slots=True)
class PageFilter:
    """The selection of a page. A page adds fields, which are those of the query of its address."""

    PATH: ClassVar[str]
    ALLOWED: ClassVar[Mapping[str, Collection[str]]] = {}
    """The values of fields that have few."""

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Self:
        """Read the query of an address; other names are ignored. Raises BadRequest."""
        found = cls(**{each.name: query[each.name].strip()[:MAX_VALUE] for each in fields(cls) if each.name in query})
        for name, allowed in cls.ALLOWED.items():
            if getattr(found, name) not in allowed:
                raise BadRequest(f"{name} must be one of {', '.join(allowed)}.")
        found.span(0)
        return found

    def span(self, now: int) -> TimeRange:
        """Return the time range from `since` to `until`. now: ns since the epoch. Raises BadRequest."""
        since, until = getattr(self, "since", ""), getattr(self, "until", "")
        start = _time(since or DEFAULT_SINCE, now, "since")
        return TimeRange(max(start, 0) // 1000, _time(until, now, "until") // 1000 if until else None)

    def query(self, **changes: str) -> dict[str, str]:
        """Return the fields, with changes, as the query of an address: what differs from the defaults."""
        changed = replace(self, **changes)
        return {each.name: value for each in fields(self) if (value := getattr(changed, each.name)) != each.default}

    def address(self, offset: int = 0, /, **changes: str) -> str:
        """Return the address of the page, with changed fields and from a row on."""
        return address(self.PATH, self.query(**changes) | ({"offset": str(offset)} if offset else {}))

    def neighbors(self, offset: int, page: int, total: int) -> dict[str, Any]:
        """Return the addresses of the pages before and after one, as `newer` and `older`; empty if there is none."""
        return {
            "newer": self.address(max(offset - page, 0)) if offset else "",
            "older": self.address(offset + page) if offset + page < total else "",
        }


@dataclass(frozen=True, slots=True)
class Filters(PageFilter):
    """The selection of alerts; empty texts select everything."""

    PATH = "/"
    ALLOWED: ClassVar[Mapping[str, Collection[str]]] = {"state": STATES, "sort": SORTS}
    priority: str = ""
    """This priority or above."""
    rule: str = ""
    tag: str = ""
    technique: str = ""
    """An id of ATT&CK; T1059 includes T1059.004."""
    workload: str = ""
    namespace: str = ""
    image: str = ""
    host: str = ""
    user: str = ""
    q: str = ""
    """Words to search for."""
    state: str = "open"
    since: str = DEFAULT_SINCE
    """A duration before now, a time, or `all`."""
    until: str = ""
    sort: str = "last"

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Self:
        """Read the query of an address; other names are ignored. Raises BadRequest."""
        # Without its arguments, super() doesn't find the class that slots replaced.
        found = super(Filters, cls).read(query)
        if found.priority and parse_priority(found.priority) is None:
            raise BadRequest(f"priority must be one of {', '.join(SEVERITY).lower()}.")
        return found

    @property
    def are_of_groups(self) -> bool:
        """True if all of them look at groups, whose alerts are counted already."""
        return not (self.namespace or self.image or self.host or self.user or self.q)


COLUMNS: Mapping[str, str] = {
    "workload": "Workload",
    "line": "Over time",
    "alerts": "Alerts",
    "hosts": "Hosts",
    "newest": "Newest",
    "first": "First",
    "techniques": "ATT&CK",
    "assignee": "Assigned to",
}
"""The columns that people may choose, with their headings."""


@dataclass(frozen=True, slots=True)
class ListFilters(Filters):
    """The selection of alerts with the columns of the list."""

    columns: str = "workload,line,alerts,hosts,newest"

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Self:
        """Read the query of an address; other names are ignored. Raises BadRequest."""
        found = super(ListFilters, cls).read(query)
        if not found.chosen <= {*COLUMNS, ""}:
            raise BadRequest(f"columns must be some of {', '.join(COLUMNS)}, with commas between them.")
        return found

    @property
    def chosen(self) -> frozenset[str]:
        """The names of the columns."""
        return frozenset(self.columns.split(","))

    def toggled(self, name: str) -> str:
        """Return the address of the list with a column more or less."""
        return self.address(columns=",".join(each for each in COLUMNS if each in self.chosen ^ {name}))


def address(path: str, query: Mapping[str, str]) -> str:
    """Return an address with a query, if there is one."""
    return f"{path}?{urlencode(query)}" if query else path


def _time(text: str, now: int, name: str) -> int:
    duration = parse_duration(text, ("s", "m", "h", "d"))
    if duration is not None:
        return now - duration
    if text in ("now", ALL_TIME):
        return now if text == "now" else 0
    try:
        found = datetime.fromisoformat(text)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()) * 1_000_000_000
    except (ValueError, OverflowError):
        message = f"{name} must be all, a duration before now, such as 24h, or a time, such as 2027-01-31T00:00:00Z."
        raise BadRequest(message) from None


def group_conditions(filters: Filters) -> tuple[list[str], list[Any]]:
    """Return conditions about a group `g`, and their values."""
    found: list[str] = []
    values: list[Any] = []
    if filters.priority:
        found.append("g.priority <= ?")
        values.append(parse_priority(filters.priority))
    for column in ("rule", "workload"):
        if text := getattr(filters, column):
            found.append(f"g.{column} {_comparison(text)}")
            values.append(_pattern(text))
    if filters.tag:
        found.append("g.id IN (SELECT grp FROM tags WHERE tag = ?)")
        values.append(filters.tag)
    if filters.technique:
        found.append("g.id IN (SELECT grp FROM tags WHERE tag = ? OR tag GLOB ?)")
        values += [filters.technique.upper(), _pattern(f"{filters.technique.upper()}.*")]
    return found, values


def alert_conditions(filters: Filters) -> tuple[list[str], list[Any]]:
    """Return conditions about an alert `a`, without those about text, and their values."""
    found: list[str] = []
    values: list[Any] = []
    for column in ("namespace", "image", "host", "user"):
        if text := getattr(filters, column):
            # For many names, reading all alerts is faster than the index: + makes SQLite not use it.
            name = f"+a.{column}" if "*" in text else f"a.{column}"
            found.append(f"{name} IN (SELECT id FROM texts WHERE value {_comparison(text)})")  # noqa: S608  bound
            values.append(_pattern(text))
    return found, values


def match_text(text: str) -> str:
    """Return the words of a text as a query of FTS5: all of them, in any order; `word*` finds what begins so.

    A word such as /etc/shadow is the sequence of its parts.
    """
    words: Sequence[str] = re.findall(r'"[^"]+"|\S+', text)
    quoted = []
    for word in words:
        bare = word.strip('"')
        is_prefix = bare.endswith("*") and not word.endswith('"')
        bare = bare.rstrip("*")
        if any(map(str.isalnum, bare)):
            quoted.append('"' + bare.replace('"', '""') + '"' + ("*" if is_prefix else ""))
    return " ".join(quoted)


def _comparison(text: str) -> str:
    return "GLOB ?" if "*" in text else "= ?"


def _pattern(text: str) -> str:
    return re.sub(r"[\[?]", r"[\g<0>]", text) if "*" in text else text
