"""Draws the processes around an alert as lines of text: who started whom, what each did, and the alerts in place.

Pure: takes events and alerts, returns lines.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells

from foundation.quantities import clock
from foundation.text import printable
from lanner.recorder.context import TimelineEntry
from lanner.recorder.tree.activity import Activity
from lanner.recorder.tree.family import REST, Family, FamilyProcess, PlacedStep, family
from schemas.alert import Alert

_LONG_NS = 1_000_000_000
"""Repeats over a longer time show their end."""
_NARROWEST = 20
_MARKED = "1;33"


@dataclass(frozen=True, slots=True)
class Style:
    """How to draw."""

    width: int = 0
    """Columns of the terminal; 0 to wrap nothing."""
    is_unicode: bool = True
    paint: Callable[[str, str], str] | None = None
    """Colors a text by priority; None for no color."""


@dataclass(slots=True)
class Drawing:
    """The tree, and what is not in it."""

    lines: list[str]
    family: Family


def draw(
    entries: Sequence[TimelineEntry[Activity]], alert: Alert | None, alerts: Sequence[Alert], style: Style
) -> Drawing:
    """Draw the family of the process that raised an alert, as `family` finds it."""
    found = family(entries, alert, alerts)
    lines = _Lines(style, None if alert is None else alert.id).of(found)
    return Drawing(lines, found)


class _Lines:
    def __init__(self, style: Style, alert_id: str | None) -> None:
        self._style = style
        self._alert_id = alert_id
        self._lines: list[str] = []
        branch, last, below, blank = ("├─ ", "└─ ", "│  ", "   ") if style.is_unicode else ("|- ", "`- ", "|  ", "   ")
        self._branches = (branch, last)
        self._below = (below, blank)

    def of(self, found: Family) -> list[str]:
        """Return the lines of a tree."""
        if found.leading:
            separator = " → " if self._style.is_unicode else " > "
            self._write("", "  ", separator.join(f"{actor.name}({actor.pid})" for actor in found.leading))
        last = {process.parent: index for index, process in enumerate(found.processes)}
        rests: list[str] = []
        for index, process in enumerate(found.processes):
            if process.parent < 0:
                first = rest = ""
            else:
                is_last = last[process.parent] == index
                above = rests[process.parent]
                first, rest = above + self._branches[is_last], above + self._below[is_last]
            rests.append(rest)
            self._draw_process(process, first, rest + self._below[index not in last])
        return self._lines

    def _draw_process(self, process: FamilyProcess, first: str, inner: str) -> None:
        head = "" if process.started is None else f"{_clock(process.started)} "
        self._write(first, inner, head + _header(process))
        for step in process.steps:
            self._draw_step(step, inner)

    def _draw_step(self, placed: PlacedStep, prefix: str) -> None:
        code = _MARKED if placed.is_trigger and self._style.paint else ""
        mark = "> " if placed.is_trigger else "  "
        self._write(prefix + mark, prefix + "    ", f"{_clock(placed.step.first)} {step_text(placed)}", code)
        for alert in placed.alerts:
            which = "this alert" if alert.id == self._alert_id else alert.id
            text = f"! {alert.priority} {printable(alert.rule)} ({which})"
            self._write(f"{prefix}  ", f"{prefix}    ", text, priority=alert.priority)

    def _write(self, first: str, rest: str, text: str, code: str = "", priority: str = "") -> None:
        text = text if self._style.is_unicode else text.replace(REST, "...")
        for number, (prefix, part) in enumerate(self._wrapped(first, rest, text)):
            shown = f"\x1b[{code}m{part}\x1b[0m" if code else part
            if priority and self._style.paint:
                shown = self._style.paint(part, priority)
            self._lines.append(f"{prefix}{shown}" if number or prefix else shown)

    def _wrapped(self, first: str, rest: str, text: str) -> Iterator[tuple[str, str]]:
        width = self._style.width
        if not width:
            yield first, text
            return
        room = max(width - _NARROWEST, 3)
        first, rest = _shortened(first, room), _shortened(rest, room)
        columns = max(width - max(len(first), len(rest)), 2)
        for number, part in enumerate(_words_within(text, columns)):
            yield (rest if number else first), part


def _words_within(text: str, columns: int) -> list[str]:
    """Break a text between words, and words that are longer than a line; wide characters take two columns."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(longer) <= columns:
            lines[-1] = longer
        else:
            lines += chop_cells(word, columns)
    return [line for line in lines if line] or [""]


def _shortened(prefix: str, columns: int) -> str:
    return prefix if len(prefix) <= columns else prefix[-columns:]


def _header(process: FamilyProcess) -> str:
    actor, end = process.actor, process.end
    parts = [f"{actor.name}({actor.pid})"]
    if actor.user:
        parts.append(f" {actor.user}")
    if process.enters_container:
        parts.append(f" in container {actor.container}")
    if actor.command != actor.name:
        parts.append(f": {actor.command}")
    if actor.origin:
        parts.append(f" [{actor.origin}]")
    if end is not None:
        parts.append(f" [exit {end.target}, {_clock(end.first)}]")
    if process.alike > 1:
        parts.append(f" [and {process.alike - 1:,} more that did the same]")
    return "".join(parts)


def step_text(placed: PlacedStep) -> str:
    """Return a step in words."""
    step = placed.step
    parts = [f"{step.verb} {step.target}".rstrip()]
    if step.error:
        parts.append(f": {step.error}")
    if step.count > 1:
        parts.append(f" {step.count:,} times")
    if step.targets > 1:
        parts.append(f" ({step.targets:,} names)")
    if step.last - step.first > _LONG_NS:
        parts.append(f", until {_clock(step.last)}")
    if placed.ran is not None:
        parts.append(f", which was run at {_clock(placed.ran)}")
    return "".join(parts)


def _clock(time: int) -> str:
    return clock(time)[:-6]
