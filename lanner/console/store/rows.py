"""Rows, groups and pages, as the view returns them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from foundation.text import count_of
from lanner.console.store.record import OMITTED, OTHER_TEXTS

ACKNOWLEDGED, ASSIGNEE, MUTED, COMMENT = "acknowledged", "assignee", "muted_until", "comment"
MAX_VALUE = 4000
"""Characters of a mark's value."""
_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Mark:
    """One decision."""

    subject: str
    """`group:` and a group's key, or `alert:` and an alert's id."""
    field: str
    """`acknowledged`, `assignee`, `muted_until`, or `comment/` and the comment's id."""
    value: str
    """Empty to take the decision back. Acknowledged: the time of the newest alert that it covers, ns since the epoch;
    muted_until: a time, ns since the epoch; else text."""
    author: str
    at: int
    """When it was decided, ns since the epoch."""


def mark_key(mark: Mark) -> bytes:
    """Return the key of the mark's message: its subject and field."""
    return f"{mark.subject}\x1f{mark.field}".encode("utf-8", "replace")


def mark_value(mark: Mark) -> bytes | None:
    """Return the value of the mark's message; None, which deletes the key, for a decision that was taken back."""
    if not mark.value:
        return None
    return json.dumps({"value": mark.value, "author": mark.author, "at": mark.at}).encode()


def read_mark(key: bytes, value: bytes | None) -> Mark | None:
    """Return the mark of a message; None if it is not one."""
    try:
        subject, _, field = key.decode().partition("\x1f")
        row: Any = {"value": "", "author": "", "at": 0} if value is None else json.loads(value)
        mark = Mark(subject, field, str(row["value"]), str(row["author"]), int(row["at"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    kind, _, name = subject.partition(":")
    is_known = field.partition("/")[0] in (ACKNOWLEDGED, ASSIGNEE, MUTED, COMMENT)
    if (
        kind not in ("group", "alert")
        or not name
        or not is_known
        or len(key) > _MAX_NAME
        or len(mark.value) > MAX_VALUE
    ):
        return None
    if field in (ACKNOWLEDGED, MUTED) and not ((mark.value.isascii() and mark.value.isdigit()) or not mark.value):
        return None
    return mark


@dataclass(frozen=True, slots=True)
class AlertGroup:
    """The alerts of one rule, workload and text in a time range."""

    key: str
    rule: str
    workload: str
    text: str
    priority: int
    tags: tuple[str, ...]
    count: int
    """Alerts in the time range."""
    hosts: int
    first: int
    """Time of the first alert that the view has seen, µs since the epoch."""
    last: int
    """Time of the newest alert in the time range, µs since the epoch."""
    sample: str
    """The headline of one alert; of the newest one if its alerts have different texts."""
    action: str
    """What its alerts share of what happened, with … for what differs."""
    place: str
    """Where all of them happened, such as `on web-1`; empty if they differ."""
    is_new: bool
    """True if the first alert came within a day before now."""
    state: str
    """open, acknowledged or muted."""
    assignee: str
    muted_until: int
    """ns since the epoch; 0 for never."""
    sparkline: tuple[int, ...] = ()
    """Alerts in each part of the time range."""

    @property
    def is_shared(self) -> bool:
        """True if its alerts have different texts; the sample is the newest one."""
        return self.text == OTHER_TEXTS

    @property
    def headline(self) -> str:
        """What happened and where, as far as its alerts agree; the newest one's if they share nothing."""
        if not set(self.action) - set(f"{OMITTED} "):
            return f"many different actions, newest: {self.sample}"
        place = self.place or f"on {count_of(self.hosts, 'host')}"
        return f"{self.action}, {place}"


@dataclass(frozen=True, slots=True)
class GroupPage:
    """One page of groups."""

    groups: Sequence[AlertGroup]
    total: int
    """Groups that match."""
    alerts: int
    """Alerts in them."""
    is_partial: bool = False
    """True if only the newest alerts with the words were counted."""


@dataclass(frozen=True, slots=True)
class Facet:
    """The most frequent values of one filter among the alerts that match."""

    name: str
    """The filter."""
    values: Sequence[tuple[str, int]]
    """Each with its number of alerts, most first."""


@dataclass(frozen=True, slots=True)
class GroupDetail:
    """One group with the texts of its rule, its hosts and what people decided."""

    group: AlertGroup
    description: str
    response: str
    hosts: Sequence[str]
    """The hosts that were active last."""
    marks: Sequence[Mark]


@dataclass(frozen=True, slots=True)
class RuleActivity:
    """The alerts of one rule in a time range."""

    rule: str
    priority: str
    count: int
    last: int
    """Time of its newest alert that the view contains, µs since the epoch."""
    sparkline: tuple[int, ...] = ()
    """Alerts in each part of the time range."""


@dataclass(frozen=True, slots=True)
class AllRuleActivity:
    """The alerts of all rules of which the view contains any."""

    since: int
    """µs since the epoch; not before the oldest alert."""
    until: int
    rules: Mapping[str, RuleActivity]
    oldest: int
    """Time of the oldest alert that the view contains; 0 for none."""


@dataclass(frozen=True, slots=True)
class AlertLine:
    """One alert in a list."""

    id: str
    time: int
    """µs since the epoch; unique, so that it is a position in the list."""
    host: str
    user: str
    namespace: str
    rule: str
    priority: str
    headline: str
    """What happened and where, as on the terminal."""
    output: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One part of the histogram."""

    start: int
    """µs since the epoch."""
    counts: Mapping[int, int]
    """By priority."""


@dataclass(frozen=True, slots=True)
class TimeHistogram:
    """Alerts by time and priority."""

    since: int
    """µs since the epoch."""
    until: int
    bars: Sequence[Bar]


_MICROSECONDS = 1_000_000


def time_text(microseconds: int) -> str:
    """Return a time as RFC 3339 in UTC."""
    second, rest = divmod(microseconds, _MICROSECONDS)
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"
