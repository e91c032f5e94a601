"""What people decided about a group or an alert: one message per subject and field, of which the newest counts."""

import json
from dataclasses import dataclass
from typing import Any

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
