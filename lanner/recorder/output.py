"""Prints what was found around an alert: as a process tree, as a flat list, or as JSON."""

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from lanner.cli.terminal.output import coloured
from lanner.recorder.around.peers import JoinedContext
from lanner.recorder.coverage import RecordingCoverage, sentences
from lanner.recorder.event_rows import line_maker, row_maker
from lanner.recorder.query import EventQuery, QueryResult
from lanner.recorder.timeline import Timeline, TimelineRange, Write
from lanner.recorder.tree.family import Family
from processor.detection.redaction import Redaction
from schemas.alert import Alert
from schemas.batch import EventBatch
from schemas.text.printable import printable
from schemas.text.times import clock, date_and_time

FLAT_LIMIT, TREE_LIMIT = 1_000, 50_000
"""Events before and after the alert; a tree folds them, and needs those of its processes among all others."""
_MAX_UNPLACED = 20


JoinedHosts = Callable[[Family], Iterable[JoinedContext]]


@dataclass(frozen=True, slots=True)
class Around:
    """What was found around an alert."""

    query: EventQuery
    found: QueryResult
    timeline: Timeline[Any]
    coverage: RecordingCoverage
    window: TimelineRange
    joined: JoinedHosts = lambda _: ()
    """Gets the tree; returns what happened at the other ends of its connections."""


@dataclass(frozen=True, slots=True)
class Form:
    """How to print: what to store of an event, how many of them, and what prints them."""

    write: Callable[[Redaction], Write[Any]]
    limit: int
    show: Callable[[Around], None]


def form_of(*, json_output: bool, flat: bool) -> Form:
    """Return the form to print in."""
    if json_output:
        return Form(lambda redaction: partial(_json_of, redaction=redaction), FLAT_LIMIT, _print_json)
    if flat:
        return Form(lambda redaction: partial(line_maker, redaction=redaction), FLAT_LIMIT, _print_flat)
    # Imported here, because JSON needs no rich.
    from lanner.recorder.tree.activity import activity_maker  # noqa: PLC0415

    return Form(lambda redaction: partial(activity_maker, redaction=redaction), TREE_LIMIT, _print_tree)


def _json_of(batch: EventBatch, redaction: Redaction) -> Callable[[int], str]:
    row = row_maker(batch, redaction)
    # ASCII, because rows quote what an attacker wrote.
    return lambda index: json.dumps(row(index), default=list)


def _print_json(around: Around) -> None:
    before, after = around.timeline.lines()
    for entry in (*before, *after):
        sys.stdout.write((entry.shown[:-1] + ', "alert": true}' if entry.is_trigger else entry.shown) + "\n")
    alert = around.found.alert
    summary = {
        "id": around.query.id,
        "rule": None if alert is None else alert.rule,
        "from": around.window.start,
        "time": around.window.alert,
        "until": around.window.end,
        "is_found": around.timeline.is_found,
        "left_out_before": around.timeline.too_early,
        "left_out_after": around.timeline.too_late,
        "remarks": _remarks(around),
        "hosts": {host.hostname: sentences(host) for host in around.coverage.hosts.values()},
    }
    sys.stdout.write(json.dumps({"context": summary}) + "\n")
    sys.stdout.flush()


def _print_flat(around: Around) -> None:
    is_coloured = coloured(sys.stdout)
    before, after = around.timeline.lines()
    lines = list(_head(around))
    for entry in before:
        text = f"{'>' if entry.is_trigger else ' '} {entry.shown}"
        lines.append(f"\x1b[1;33m{text}\x1b[0m" if is_coloured and entry.is_trigger else text)
    lines += _not_found(around)
    lines += [f"  {entry.shown}" for entry in after]
    _print([*lines, *_footer(around)])


def _print_tree(around: Around) -> None:
    from lanner.recorder.tree.draw import Style, draw  # noqa: PLC0415

    out = sys.stdout
    width = shutil.get_terminal_size().columns if out.isatty() else 0
    is_unicode = out.encoding.lower().startswith("utf")
    alert = around.found.alert
    all_alerts = list(around.found.alerts)
    alerts = [each for each in all_alerts if alert is None or each.host_id == alert.host_id]
    before, after = around.timeline.lines()
    style = Style(width, coloured(out), is_unicode)
    drawing = draw([*before, *after], alert, alerts, style)
    lines = [*_head(around), "", *drawing.lines, *_not_found(around)]
    for each in around.joined(drawing.family):
        own = [other for other in all_alerts if other.host_id == each.join.host_id]
        lines += ["", printable(f"On {each.join.hostname}, joined by {each.join.socket}:"), ""]
        lines += draw(each.context.entries(), None, own, style).lines
    elsewhere = [each for each in drawing.family.unplaced if each.id != around.query.id]
    if elsewhere:
        lines += ["", "Other alerts of this time:", *map(_alert_line, elsewhere[:_MAX_UNPLACED])]
    if len(elsewhere) > _MAX_UNPLACED:
        lines.append(f"  and {len(elsewhere) - _MAX_UNPLACED:,} more: lanner alerts list")
    lines.append("")
    if drawing.family.other_processes:
        lines.append(
            f"# {drawing.family.other_events:,} events of {drawing.family.other_processes:,} other processes of this "
            "time are not drawn: --flat lists all events."
        )
    _print([*lines, *_footer(around)])


def _alert_line(alert: Alert) -> str:
    process, pid = alert.event.get("proc.name"), alert.event.get("proc.pid")
    who = "" if process is None else f" by {process}({pid})"
    return printable(f"  {clock(alert.time)[:-6]} {alert.priority} {alert.rule}{who} ({alert.id})")


def _head(around: Around) -> Iterator[str]:
    alert = around.found.alert
    if alert is None:
        yield f"{date_and_time(around.window.alert)[:-6]} {around.query.id}"
    else:
        yield printable(f"{date_and_time(alert.time)} {alert.priority} {alert.rule} on {alert.hostname}")
        yield from map(printable, alert.output.split("\n"))


def _not_found(around: Around) -> Iterator[str]:
    if not around.timeline.is_found:
        yield "> the alert (its event is not among these)"


def _footer(around: Around) -> Iterator[str]:
    for remark in _remarks(around):
        yield f"# {printable(remark)}"
    for host in around.coverage.hosts.values():
        yield f"# {printable(host.hostname)}: {host.events:,} events in {host.batches:,} batches of this time."
        for sentence in sentences(host):
            yield f"#   {printable(sentence)}"
    if not around.coverage.hosts:
        yield "# No batch of this time is stored: what happened is unknown."


def _remarks(around: Around) -> list[str]:
    timeline = around.timeline
    remarks = list(around.found.remarks)
    if timeline.too_early or timeline.too_late:
        remarks.append(
            f"{timeline.too_early:,} earlier and {timeline.too_late:,} later events of this time are left out: "
            f"--limit {around.query.limit}."
        )
    return remarks


def _print(lines: list[str]) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
