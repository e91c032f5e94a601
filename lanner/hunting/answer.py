"""The answer of a hunt for a page: a bounded table of texts, and a histogram over time."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from lanner.hunting.results import rows_of
from lanner.recorder.search import MAX_CONDITION
from lanner.recorder.store import EventRange
from processor.language.printer import quote
from processor.output.redaction import MASK

MAX_BARS = 60
MAX_TEXT = 2_000
"""Characters of a cell."""
MAX_CHARACTERS = 4_000_000
"""Characters of a table."""
MAX_PERIODS = 1_000_000
"""Periods of a timeline that are counted before they are drawn as bars."""
_MS = 1_000_000
_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000
_STEPS = (
    *(each * _SECOND for each in (1, 2, 5, 10, 15, 30)),
    *(each * _MINUTE for each in (1, 2, 5, 10, 15, 30)),
    *(each * _HOUR for each in (1, 2, 3, 6, 12)),
    *(each * _DAY for each in (1, 2, 7, 14, 28, 91, 182, 364, 3_640, 36_400)),
)
"""Widths of a bar, ms."""
ColumnKind = Literal["time", "number", "text"]


@dataclass(frozen=True, slots=True)
class AnswerTable:
    """A table for a page."""

    columns: Sequence[tuple[str, ColumnKind]]
    rows: Sequence[Sequence[str | None]]
    is_cut: bool = False
    """True if rows or parts of texts were left out because there were too many characters."""


def answer_table(table: pa.Table) -> AnswerTable:
    """Return a table, which is masked, as texts."""
    columns = [(name, _kind(table.column(at).type)) for at, name in enumerate(table.column_names)]
    rows: list[list[str | None]] = []
    left, is_cut = MAX_CHARACTERS, False
    for row in rows_of(table):
        texts = [None if value is None else _text(value) for value in row]
        shown = [text if text is None or len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…" for text in texts]
        left -= sum(len(text) for text in shown if text is not None)
        is_cut = is_cut or shown != texts or left < 0
        if left < 0:
            break
        rows.append(shown)
    return AnswerTable(columns, rows, is_cut)


def narrowing(condition: str, table: pa.Table, fields: Sequence[str]) -> list[str]:
    """Return a condition for each group: that of its events; empty where masking leaves it unknown.

    Args:
        condition: the condition of the hunt.
        table: the groups, masked.
        fields: the fields by which events are grouped; the table may have the first one only.
    """
    named = [each for each in fields if each in table.column_names]
    found = []
    for row in rows_of(table.select(named)):
        checks = [f"not {field} exists" if value is None else f"{field} = {_literal(value)}"
                  for field, value in zip(named, row, strict=True)]  # fmt: skip
        text = " and ".join((f"({condition})", *checks))
        found.append("" if MASK in text or len(text) > MAX_CONDITION else text)
    return found


def _literal(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool | int) else quote(str(value))


def _kind(kind: pa.DataType) -> ColumnKind:
    if pa.types.is_timestamp(kind):
        return "time"
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return "number" if is_number else "text"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def period_ms(events: EventRange, *, is_recording: bool) -> int:
    """Return the period by which to count the events of a time range with an end, ms.

    is_recording: the source holds days at most, and not years.
    """
    if events.since <= 0 or events.until is None:
        return _SECOND if is_recording else _MINUTE
    return _step(events.since, events.until)


@dataclass(frozen=True, slots=True)
class HuntHistogram:
    """The number of events over time."""

    start: int
    """Start of the first bar, ms since the epoch."""
    step: int
    """Width of a bar, ms."""
    counts: Sequence[int]

    @property
    def total(self) -> int:
        """The number of all events."""
        return sum(self.counts)


def histogram(periods: Iterable[tuple[int, int]], period: int, events: EventRange) -> HuntHistogram | None:
    """Return a histogram over a time range; None if nothing was found and its start is not known.

    Args:
        periods: the start of each period with events, ns since the epoch, and their number.
        period: the length of each, ms.
        events: the time range, with an end.
    """
    counted = [(start // _MS, count) for start, count in periods]
    since, until = events.since, events.until or 0
    if since <= 0 and not counted:
        return None
    if since <= 0:
        # The range begins with the first event, and ends with the last one.
        since = min(start for start, _ in counted)
        until = max(start for start, _ in counted) + period
    step = max(_step(since, until), period)
    first = since // step * step
    counts = [0] * ((max(until, since + 1) - 1) // step - first // step + 1)
    for start, count in counted:
        # A period may begin before the range does.
        counts[min(max((start - first) // step, 0), len(counts) - 1)] += count
    return HuntHistogram(first, step, counts)


def _step(since: int, until: int) -> int:
    length = max(until - since, 1)
    return next((each for each in _STEPS if length <= each * (MAX_BARS - 1)), _STEPS[-1])
