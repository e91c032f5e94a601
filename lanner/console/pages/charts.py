"""Computes the drawings: a histogram by priority and a line of counts, as coordinates for SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

from lanner.console.store.rows import TimeHistogram

WIDTH, HEIGHT = 1000, 80
_GAP = 1.5
_LEVELS = ((0, 3, "error"), (4, 4, "warning"), (5, 5, "notice"), (6, 7, "info"))
"""Priorities that share a color."""


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


@dataclass(frozen=True, slots=True)
class Chart:
    """The histogram."""

    since: int
    until: int
    total: int
    most: int
    columns: Sequence[Column]


def histogram_chart(histogram: TimeHistogram) -> Chart:
    """Return the drawing of a histogram: columns, stacked with the most severe priorities at the bottom."""
    bars = histogram.bars
    most = max((sum(bar.counts.values()) for bar in bars), default=0)
    width = WIDTH / max(len(bars), 1)
    step = bars[1].start - bars[0].start if len(bars) > 1 else histogram.until - histogram.since
    columns = []
    for number, bar in enumerate(bars):
        boxes = []
        top = float(HEIGHT)
        for first, last, level in _LEVELS:
            count = sum(bar.counts.get(priority, 0) for priority in range(first, last + 1))
            if count:
                height = max(count * HEIGHT / most, 1.0)
                top -= height
                boxes.append(
                    Box(round(number * width, 2), round(top, 2), round(width - _GAP, 2), round(height, 2), level)
                )
        total = sum(bar.counts.values())
        columns.append(Column(bar.start, bar.start + step, total, round(number * width, 2), round(width, 2), boxes))
    return Chart(histogram.since, histogram.until, sum(column.count for column in columns), most, columns)


def sparkline(counts: Sequence[int], width: int = 96, height: int = 20) -> str:
    """Return the path of an area over counts."""
    most = max(counts, default=0)
    if not most:
        return ""
    step = width / max(len(counts) - 1, 1)
    points = " ".join(
        f"L{number * step:.1f} {height - count * (height - 2) / most:.1f}" for number, count in enumerate(counts)
    )
    return f"M0 {height} {points} L{width} {height} Z"
