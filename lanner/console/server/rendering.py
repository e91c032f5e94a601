"""Pages for a request: a template with what every page shows."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from foundation.text import count_of, csv_cell, printable
from lanner.console.server.context import IDENTITY, VERSION, console
from lanner.console.store.rows import TimeHistogram, time_text
from schemas.catalog.priorities import Priority

WIDTH, HEIGHT = 1000, 80
_GAP = 1.5
_LEVELS = (
    (0, 3, "error", "Error and above"),
    (4, 4, "warning", "Warning"),
    (5, 5, "notice", "Notice"),
    (6, 7, "info", "below"),
)
"""Priorities that share a color, from one to another, and their name."""
_TICKS = 5
_SMALL_TOPS, _TOPS = (1, 2, 4, 6, 8, 10), (10, 12, 16, 20, 24, 30, 40, 50, 60, 80, 100)
"""Upper edges up to ten, and beyond, times a power of ten."""
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Box:
    """One rectangle."""

    x: float
    y: float
    width: float
    height: float
    level: str


@dataclass(frozen=True, slots=True)
class Column:
    """The alerts of one part of the time range."""

    start: int
    """µs since the epoch."""
    end: int
    count: int
    x: float
    width: float
    boxes: Sequence[Box]
    text: str
    """How many alerts of which priorities."""


@dataclass(frozen=True, slots=True)
class Chart:
    """The histogram."""

    since: int
    until: int
    total: int
    top: int
    """The number of alerts at its upper edge."""
    most: int
    columns: Sequence[Column]
    levels: Sequence[tuple[str, str, int]]
    """Color, name and number of alerts of the priorities that share a color."""
    ticks: Sequence[int]
    """Times below it, µs since the epoch."""


def histogram_chart(histogram: TimeHistogram) -> Chart:
    """Return the drawing of a histogram: columns, stacked with the most severe priorities at the bottom."""
    bars = histogram.bars
    most = max((sum(bar.counts.values()) for bar in bars), default=0)
    top = _round_number(most)
    totals = dict.fromkeys((level for *_, level, _ in _LEVELS), 0)
    width = WIDTH / max(len(bars), 1)
    step = bars[1].start - bars[0].start if len(bars) > 1 else histogram.until - histogram.since
    columns = []
    for number, bar in enumerate(bars):
        boxes, texts = [], []
        edge = float(HEIGHT)
        for first, last, level, name in _LEVELS:
            count = sum(bar.counts.get(priority, 0) for priority in range(first, last + 1))
            if count:
                totals[level] += count
                texts.append(f"{count:,} {name}")
                height = max(count * HEIGHT / top, 1.0)
                edge -= height
                boxes.append(
                    Box(round(number * width, 2), round(edge, 2), round(width - _GAP, 2), round(height, 2), level)
                )
        total = sum(bar.counts.values())
        text = f"{count_of(total, 'alert')}{': ' if texts else ''}{', '.join(texts)}"
        columns.append(
            Column(bar.start, bar.start + step, total, round(number * width, 2), round(width, 2), boxes, text)
        )
    since, until = (columns[0].start, columns[-1].end) if columns else (histogram.since, histogram.until)
    return Chart(
        since,
        until,
        sum(column.count for column in columns),
        top,
        most,
        columns,
        [(level, name, totals[level]) for *_, level, name in _LEVELS],
        [since + (until - since) * number // (_TICKS - 1) for number in range(_TICKS)],
    )


def _round_number(number: int) -> int:
    """Return a round number that is not below another, and even unless it is one."""
    if number <= _SMALL_TOPS[-1]:
        return next(each for each in _SMALL_TOPS if each >= number)
    power: int = 10 ** (len(str(number)) - 2)
    return next(step * power for step in _TOPS if step * power >= number)


def sparkline(counts: Sequence[int]) -> str:
    """Return the path of an area over counts, 96 wide and 20 high."""
    width, height = 96, 20
    most = max(counts, default=0)
    if not most:
        return ""
    step = width / max(len(counts) - 1, 1)
    points = " ".join(
        f"L{number * step:.1f} {height - count * (height - 2) / most:.1f}" for number, count in enumerate(counts)
    )
    return f"M0 {height} {points} L{width} {height} Z"


def templates(values: Mapping[str, Any]) -> Environment:
    """Load the templates of the package, each compiled once. values: what all of them may use."""
    environment = Environment(
        loader=PackageLoader("lanner.console.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters: dict[str, Callable[..., Any]] = {
        "time": _time,
        "at": _at,
        "tick": _tick,
        "count": "{:,}".format,
        "priority": lambda number: str(Priority(number)),
        "segment": lambda text: quote(text, safe=""),
        "value": _value,
        "lines": _lines,
    }
    environment.filters |= filters
    environment.globals |= {"sparkline": sparkline, "priorities": [str(each) for each in Priority], **values}
    return environment


def _visible(value: Any) -> Any:
    """Make a text of a host visible: a direction mark could reverse how the rest of the page reads."""
    return printable(value) if type(value) is str else value


def _time(microseconds: int) -> Markup:
    """Return a time element in UTC; the page's script shows it in the viewer's zone."""
    text, shown = time_text(microseconds), _shown(microseconds)
    return Markup('<time datetime="{}" title="{} UTC">{} UTC</time>').format(text, shown, shown)


def _at(microseconds: int) -> Markup:
    """Return a time element for a table, whose heading states the zone."""
    text, shown = time_text(microseconds), _shown(microseconds)
    return Markup('<time datetime="{}" title="{} UTC" data-bare>{}</time>').format(text, shown, shown)


def _tick(microseconds: int, length: int) -> Markup:
    """Return a time below a chart of some length, µs; with the date if it is longer than a day."""
    text, has_date = time_text(microseconds), length > _DAY_US
    shown = text[5:16].replace("T", " ") if has_date else text[11:16]
    return Markup('<time datetime="{}" data-tick="{}">{}</time>').format(text, "date" if has_date else "clock", shown)


def _shown(microseconds: int) -> str:
    return time_text(microseconds)[:23].replace("T", " ")


def _lines(text: str) -> Markup:
    """Return a text of several lines."""
    return escape("\n".join(map(printable, text.split("\n"))))


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a table as CSV. A text that a spreadsheet would take for a formula begins with an apostrophe."""

    def cell(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            value = ", ".join(map(str, value))
        return csv_cell(value) if isinstance(value, str) else value

    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(columns)
    table.writerows([cell(row[name]) for name in columns] for row in rows)
    return text.getvalue()


TEMPLATES = web.AppKey("templates", Environment)


@dataclass(frozen=True, slots=True)
class View:
    """One entry of the navigation."""

    name: str
    path: str
    key: str
    """Opens the view after `g`."""


def page(request: web.Request, template: str, status: int = 200, **values: Any) -> web.Response:
    """Render a template with values, the person who is signed in and the path."""
    made, who = console(request), request.get(IDENTITY)
    text = (
        request.app[TEMPLATES]
        .get_template(template)
        .render(
            identity=who,
            path=request.path,
            source=made.source,
            current=made.pipeline.freshness if who is not None and made.pipeline is not None else None,
            now=made.clock() // 1000,
            version=request[VERSION],
            can_sign_out=bool(request.cookies) and who is not None and who.method in ("token", "oidc"),
            **values,
        )
    )
    answer = web.Response(text=text, status=status, content_type="text/html")
    answer.enable_compression()
    return answer
