"""Alerts for people: a first line with what happened, then the facts that have values; and the counts at the end."""

import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from foundation.caches import BoundedSet
from foundation.quantities import clock, date_and_time, iso8601
from foundation.text import count_of, printable
from lanner.terminal.output import paint
from notifier.formats.facts import facts
from notifier.formats.phrases import sentence
from schemas.alert import Alert
from schemas.batch import INCOMPLETE_REASONS, events_lost
from schemas.catalog.priorities import SEVERITY

MAX_FACTS = 40
MAX_VALUE = 1_000
"""Characters of one value; JSON and `lanner context` have the rest."""
MAX_FIRST = 2_000
_MAX_LABEL = 24
_INDENT = "  "
_NARROWEST = 20
"""Columns that a value needs beside its label; otherwise it gets lines of its own."""
_MAX_RULES = 1_000
_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"


class AlertText:
    """Renders alerts for people, one after the other: a rule's advice follows the rule's first alert only."""

    def __init__(self, width: Callable[[], int], *, is_coloured: bool = False, is_iso: bool = False) -> None:
        """Begin. width: returns the columns of the terminal, 0 to wrap nothing. is_iso: print date, time and zone."""
        self._width = width
        self._is_coloured = is_coloured
        self._is_iso = is_iso
        self._advised: BoundedSet[str] = BoundedSet(_MAX_RULES)

    def __call__(self, alert: Alert) -> str:
        """Return the lines of an alert."""
        width = self._width()
        return "\n".join((*self._first(alert, width), *self._facts(alert, width)))

    def _first(self, alert: Alert, width: int) -> Iterator[str]:
        moment, rule = self._time(alert), _shown(alert.rule, MAX_VALUE)
        what = _shown(sentence(alert), MAX_FIRST)
        lines = _wrapped(f"{moment} {alert.priority} {rule}: {what}", width, _INDENT * 2)
        head = f"{moment} {alert.priority} "
        if self._is_coloured and lines[0].startswith(head):
            lines[0] = f"{_DIM}{moment}{_PLAIN} {paint(alert.priority, alert.priority)} {lines[0][len(head) :]}"
            named = f" {rule}:"
            lines[0] = lines[0].replace(named, f" {_BOLD}{rule}{_PLAIN}:", 1)
        yield from lines

    def _facts(self, alert: Alert, width: int) -> Iterator[str]:
        found = [(_shown(name, _MAX_LABEL), _shown(text, MAX_VALUE)) for name, text in facts(alert)]
        if len(found) > MAX_FACTS:
            found = [*found[:MAX_FACTS], ("", f"and {len(found) - MAX_FACTS} more fields")]
        if self._advised.add(alert.rule):
            found += [(name, _shown(text, MAX_FIRST)) for name, text in _advice(alert) if text]
        found.append(("id", _shown(alert.id, MAX_VALUE)))
        column = max(len(label) for label, _ in found)
        for label, text in found:
            yield from self._fact(label, text, column, width)

    def _fact(self, label: str, text: str, column: int, width: int) -> Iterator[str]:
        start = f"{_INDENT}{label:{column}}{_INDENT}"
        if width and width - len(start) < _NARROWEST:
            yield from map(self._dim, _wrapped(f"{_INDENT}{label}", width, _INDENT))
            start = _INDENT * 2
            yield from _wrapped(f"{start}{text}", width, start)
            return
        first, *rest = _wrapped(f"{start}{text}", width, " " * len(start))
        yield self._dim(first[: len(start)]) + first[len(start) :]
        yield from rest

    def _time(self, alert: Alert) -> str:
        if self._is_iso:
            return iso8601(alert.time, utc=True)
        day = date_and_time(alert.time)
        return f"{'' if day[:10] == time.strftime('%Y-%m-%d') else f'{day[:10]} '}{clock(alert.time)[:12]}"

    def _dim(self, text: str) -> str:
        return f"{_DIM}{text}{_PLAIN}" if self._is_coloured else text


def _advice(alert: Alert) -> tuple[tuple[str, str], ...]:
    return ("about", alert.description), ("response", alert.response)


def _shown(text: str, limit: int) -> str:
    """Return a text on one line, safe for a terminal and bounded."""
    shown = printable(text[:limit])
    return f"{shown[: limit - 1]}…" if len(text) > limit or len(shown) > limit else shown


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    if not width or len(text) <= width:
        return [text]
    wide = max(width, len(indent) + 1)
    return textwrap.wrap(
        text,
        wide,
        subsequent_indent=indent,
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
        expand_tabs=False,
    ) or [text]


@dataclass(slots=True)
class Summary:
    """Counts since the process started."""

    events: int = 0
    alerts: int = 0
    by_priority: Counter[str] = field(default_factory=Counter)
    by_rule: Counter[str] = field(default_factory=Counter)

    by_both: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By rule and priority."""

    def count(self, alert: Alert) -> None:
        """Count one alert."""
        self.alerts += 1
        self.by_priority[alert.priority] += 1
        self.by_rule[alert.rule] += 1
        self.by_both[alert.rule, alert.priority] += 1

    def lines(self, lost: Mapping[str, int]) -> list[str]:
        """Return the lines of the summary; lost is the number of events by reason."""
        lines = [f"Events detected: {self.alerts}", "Rule counts by severity:"]
        lines += [f"   {name.upper()}: {self.by_priority[name]}" for name in SEVERITY if self.by_priority[name]]
        lines.append("Triggered rules by rule name:")
        lines += [f"   {printable(rule)}: {number}" for rule, number in sorted(self.by_rule.items())]
        lines.append(f"Events seen: {self.events:,}")
        incomplete = {reason: number for reason, number in lost.items() if reason in INCOMPLETE_REASONS and number}
        gone = {reason: number for reason, number in lost.items() if reason not in INCOMPLETE_REASONS}
        lines.append(f"Events lost: {_with_reasons(gone)}")
        if incomplete:
            lines.append(f"Events with facts left out: {_with_reasons(incomplete)}")
        return lines

    def status(self, lost: Mapping[str, int]) -> str:
        """Return the text of the status line."""
        events, alerts = count_of(self.events, "event"), count_of(self.alerts, "alert")
        return f"watching: {events}, {alerts}, {events_lost(lost):,} lost"


def _with_reasons(numbers: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{reason}: {number:,}" for reason, number in sorted(numbers.items()) if number)
    return f"{sum(numbers.values()):,}" + (f" ({reasons})" if reasons else "")
