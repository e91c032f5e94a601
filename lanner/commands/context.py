"""`lanner context`: shows what happened on a host around an alert."""

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from foundation.quantities import clock, date_and_time, date_and_time_seconds
from foundation.text import printable
from lanner.captures.writer import CaptureSpool
from lanner.cli.app import Options, front_command
from lanner.cli.options import Progress, chosen_recording, parse_duration_ms, progress, source_options
from lanner.errors import or_bad_input
from lanner.recorder.context import (
    EventQuery,
    QueryResult,
    Rows,
    Timeline,
    TimelineRange,
    Write,
    find_around,
    parse_alert_id,
    read_context,
)
from lanner.recorder.coverage import RecordingCoverage, sentences
from lanner.recorder.event_rows import line_maker, row_maker
from lanner.recorder.store import StoredBatch
from lanner.recorder.tree.activity import activity_maker
from lanner.recorder.tree.family import Family
from lanner.recorder.tree.peers import HostReading, JoinedContext, joined_contexts
from lanner.recorder.tree.relatives import rows_of_family
from lanner.ruleset.load import load_or_fail
from lanner.settings import Settings
from lanner.terminal.output import coloured, note, paint
from lanner.wiring.rules import find_rules
from lanner.wiring.stores import open_events
from processor.output.redaction import Redaction
from schemas.alert import Alert
from schemas.batch import EventBatch
from schemas.encoding.batch import encode_batch

FLAT_LIMIT, TREE_LIMIT = 1_000, 50_000
"""Events before and after the alert; a tree folds them, and needs those of its processes among all others."""
_MAX_UNPLACED = 20


JoinedHosts = Callable[[Family], Iterable[JoinedContext]]


@dataclass(frozen=True, slots=True)
class Around:
    """The events and processes around an alert."""

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
    rows: Callable[[Alert | None], Rows | None] = lambda _: None
    """Gets the alert; returns what chooses the processes whose events are stored."""


def form_of(*, json_output: bool, flat: bool) -> Form:
    """Return the form to print in."""
    if json_output:
        return Form(lambda redaction: partial(_json_of, redaction=redaction), FLAT_LIMIT, _print_json)
    if flat:
        return Form(lambda redaction: partial(line_maker, redaction=redaction), FLAT_LIMIT, _print_flat)
    return Form(lambda redaction: partial(activity_maker, redaction=redaction), TREE_LIMIT, _print_tree, rows_of_family)


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
    from lanner.recorder.tree.draw import Style, draw

    out = sys.stdout
    width = shutil.get_terminal_size().columns if out.isatty() else 0
    is_unicode = out.encoding.lower().startswith("utf")
    alert = around.found.alert
    all_alerts = list(around.found.alerts)
    alerts = [each for each in all_alerts if alert is None or each.host_id == alert.host_id]
    before, after = around.timeline.lines()
    style = Style(width, is_unicode, paint if coloured(out) else None)
    drawing = draw([*before, *after], alert, alerts, style)
    drawing.family.count_others(around.timeline)
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
    remarks = around.found.remarks
    if timeline.too_early or timeline.too_late:
        remarks.append(
            f"{timeline.too_early:,} earlier and {timeline.too_late:,} later events of this time are left out: "
            f"--limit {around.query.limit}."
        )
    return remarks


def _print(lines: list[str]) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


@front_command(
    "context",
    example="sudo lanner context 01a20e63-3df8-8a19-82ef-5e8e855bbfb0\n"
    "lanner context 01a20e63-3df8-8a19-82ef-5e8e855bbfb0 --topic --before 2m\n"
    "sudo lanner context 01a20e63-3df8-8a19-82ef-5e8e855bbfb0 --scap incident.scap.gz",
)
@click.argument("alert_id")
@click.option("--before", metavar="TIME", default="30s", show_default=True, help="How far back to show events.")
@click.option("--after", metavar="TIME", default="10s", show_default=True, help="How far forward to show events.")
@click.option("--flat", is_flag=True, help="List all events in order, instead of a tree of the processes concerned.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    help="Use at most this many events before and after the alert: the nearest ones.  [default: "
    f"{FLAT_LIMIT:,}; {TREE_LIMIT:,} for a tree]",
)
@click.option(
    "--scap",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Also write the host's events of this time to a capture (.scap) for Stratoshark; a FILE.gz is compressed.",
)
@source_options
@click.option("--host", metavar="HOST", help="Name or id of the host, if the alert itself is no longer retained.")
def command(
    options: Options,
    alert_id: str,
    *,
    before: str,
    after: str,
    flat: bool,
    limit: int | None,
    scap: Path | None,
    file: Path | None,
    topic: bool,
    host: str | None,
) -> None:
    """Show what happened on a host before and after an alert.

    The source is this host's own recording, which `lanner run` writes, or the fleet's topics if a broker is configured.

    The output is a tree of the processes concerned: ancestors of the one that raised the alert, its siblings and its
    descendants, with what each did, and all alerts in place. > marks the event that raised this alert; repeats, and
    files of one folder, are folded. Processes at the other ends of connections follow, also those on other hosts. The
    output ends with what was not collected at that time, so that missing events aren't taken as proof that nothing
    happened.
    """
    settings = options.settings()
    form = form_of(json_output=settings.json_output, flat=flat)
    query = EventQuery(
        parse_alert_id(alert_id),
        host,
        parse_duration_ms(before, "--before"),
        parse_duration_ms(after, "--after"),
        limit or form.limit,
    )
    recording = chosen_recording(settings, file, topic=topic, quiet=options.quiet)
    with progress(quiet=options.quiet) as search:
        store = open_events(settings, recording, note)
        found = find_around(query, store, lambda: _rule_names(settings), search.stop, search.show)
        search.clear()
        with _spool(scap) as spool:
            _show(query, found, settings.redact, form, search=search, spool=spool)


def _rule_names(settings: Settings) -> frozenset[str]:
    rules = load_or_fail(find_rules(settings), warnings=False).rules
    return frozenset(rule.name for rule in rules)


@contextmanager
def _spool(file: Path | None) -> Iterator[CaptureSpool | None]:
    """Open what collects the batches of a capture, and remove it at the end."""
    if file is None:
        yield None
        return
    with or_bad_input(file):
        spool = CaptureSpool(file)
    try:
        yield spool
    finally:
        spool.path.unlink(missing_ok=True)


def _show(
    query: EventQuery,
    found: QueryResult,
    redact: tuple[str, ...],
    form: Form,
    *,
    search: Progress,
    spool: CaptureSpool | None,
) -> None:
    def take(stored: StoredBatch) -> None:
        search.show(f"searching: {date_and_time_seconds(stored.appended * 1_000_000)}")
        if spool is not None:
            with or_bad_input(spool.file):
                spool.writer.write(encode_batch(stored.batch))

    trigger_time = found.alert.time if found.alert is not None else query.time * 1_000_000 + 999_999
    window = TimelineRange(
        trigger_time - query.before * 1_000_000, trigger_time, trigger_time + query.after * 1_000_000
    )
    redaction = Redaction(redact)
    context = read_context(
        found.batches, window, found.is_trigger, form.write(redaction), query.limit, stop=search.stop, on_batch=take,
        rows=form.rows(found.alert),
    )  # fmt: skip
    search.clear()
    if spool is not None:
        with or_bad_input(spool.file):
            host = _host(found, context.coverage)
            written = spool.finish(host, lambda time: window.start <= time <= window.end)
        for line in written.lines():
            note(f"{spool.file}: {line}.")

    def joined(tree: Family) -> list[JoinedContext]:
        host = _host(found, context.coverage)
        if not host:
            return []
        search.show("searching for the other ends of connections")
        how = HostReading(found.store, partial(activity_maker, redaction=redaction), query.limit, search.stop)
        others = joined_contexts(tree, host, window, how)
        search.clear()
        return others

    form.show(Around(query, found, context.timeline, context.coverage, window, joined))


def _host(found: QueryResult, coverage: RecordingCoverage) -> str:
    """Return the id of the host that the tree is about."""
    return found.alert.host_id if found.alert is not None else next(iter(coverage.hosts), "")
