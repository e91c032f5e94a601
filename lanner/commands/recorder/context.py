"""`lanner context`: shows what happened on a host around an alert."""

import json
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import click

from lanner.cli.app import Options, front_command
from lanner.cli.options.source import chosen_recording, source_options
from lanner.cli.options.times import parse_duration_ms
from lanner.cli.signals import Signals
from lanner.cli.terminal.output import StatusLine, coloured
from lanner.recorder.coverage import RecordingCoverage, sentences
from lanner.recorder.event_rows import line_maker, row_maker
from lanner.recorder.query import EventQuery, QueryResult, parse_alert_id
from lanner.recorder.rolling.search import from_recording
from lanner.recorder.timeline import Timeline, TimelineRange
from lanner.settings import Settings
from processor.detection.redaction import Redaction
from schemas.batch import EventBatch
from schemas.text.printable import printable
from schemas.text.times import date_and_time, date_and_time_seconds

_EARLIER = 20_000_000_000
"""ns; batches state every 15 s what is collected."""


@front_command(
    "context",
    example="sudo lanner context 01a20e63-3df8-8a19-82ef-5e8e855bbfb0\n"
    "lanner context 01a20e63-3df8-8a19-82ef-5e8e855bbfb0 --topic --before 2m",
)
@click.argument("alert_id")
@click.option("--before", metavar="TIME", default="30s", show_default=True, help="How far back to show events.")
@click.option("--after", metavar="TIME", default="10s", show_default=True, help="How far forward to show events.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=1000,
    show_default=True,
    help="Show at most this many events before and after the alert: the nearest ones.",
)
@source_options
@click.option("--host", metavar="HOST", help="Name or id of the host, if the alert itself is no longer retained.")
def command(
    options: Options,
    alert_id: str,
    *,
    before: str,
    after: str,
    limit: int,
    file: Path | None,
    topic: bool,
    host: str | None,
) -> None:
    """Show what happened on a host before and after an alert.

    The source is this host's own recording, which `lanner run` writes, or the fleet's topics if a broker is configured.

    The event that raised the alert is marked by >. The output ends with what was not collected at that time, so that
    missing events aren't taken as proof that nothing happened.
    """
    query = EventQuery(
        parse_alert_id(alert_id),
        host,
        parse_duration_ms(before, "--before"),
        parse_duration_ms(after, "--after"),
        limit,
    )
    settings = options.settings()
    recording = chosen_recording(settings, file, topic=topic, quiet=options.quiet)
    status = StatusLine(sys.stderr, enabled=not options.quiet)
    with Signals() as signals:
        if recording is not None:
            found = from_recording(query, recording, settings)
        else:
            from lanner.recorder.topic.search import from_topic

            found = from_topic(query, settings, lambda: signals.stop, status)
        _show(query, found, settings, status, lambda: signals.stop)


def _show(
    query: EventQuery, found: QueryResult, settings: Settings, status: StatusLine, stop: Callable[[], bool]
) -> None:
    trigger_time = found.alert.time if found.alert is not None else query.time * 1_000_000 + 999_999
    window = TimelineRange(
        trigger_time - query.before * 1_000_000, trigger_time, trigger_time + query.after * 1_000_000
    )
    redaction = Redaction(settings.redact)
    write = partial(_json if settings.json_output else line_maker, redaction=redaction)
    timeline = Timeline(window, found.is_trigger, write, query.limit)
    coverage = RecordingCoverage()
    with closing(found.batches) as batches:
        for stored in batches:
            status.show(f"searching: {date_and_time_seconds(stored.appended * 1_000_000)}")
            timeline.take(stored.batch)
            if timeline.is_past or stop():
                break
            if stored.batch.created >= window.start - _EARLIER:
                coverage.see(stored)
    status.clear()
    if settings.json_output:
        _print_json(query, found, timeline, coverage, window)
    else:
        _print_text(query, found, timeline, coverage, window)


def _json(batch: EventBatch, redaction: Redaction) -> Callable[[int], str]:
    row = row_maker(batch, redaction)
    # ASCII, because rows quote what an attacker wrote.
    return lambda index: json.dumps(row(index), default=list)


def _remarks(found: QueryResult, timeline: Timeline, query: EventQuery) -> list[str]:
    remarks = []
    if timeline.too_early or timeline.too_late:
        remarks.append(
            f"{timeline.too_early:,} earlier and {timeline.too_late:,} later events of this time are left out: "
            f"--limit {query.limit}."
        )
    return [*found.remarks, *remarks]


def _print_text(
    query: EventQuery, found: QueryResult, timeline: Timeline, coverage: RecordingCoverage, window: TimelineRange
) -> None:
    out = sys.stdout
    colour = coloured(out)
    before, after = timeline.lines()
    alert = found.alert
    head = f"{date_and_time(window.alert)[:-6]} {query.id}"
    if alert is not None:
        head = f"{date_and_time(alert.time)} {alert.priority} {alert.rule} on {alert.hostname}\n{alert.output}"
    out.write("".join(f"{printable(line)}\n" for line in head.split("\n")))
    for line in before:
        text = f"{'>' if line.is_trigger else ' '} {line.text}"
        out.write((f"\x1b[1;33m{text}\x1b[0m" if colour and line.is_trigger else text) + "\n")
    if not timeline.is_found:
        out.write("> the alert (its event is not among these)\n")
    out.writelines(f"  {line.text}\n" for line in after)
    for remark in _remarks(found, timeline, query):
        out.write(f"# {printable(remark)}\n")
    for host in coverage.hosts.values():
        out.write(f"# {printable(host.hostname)}: {host.events:,} events in {host.batches:,} batches of this time.\n")
        out.writelines(f"#   {printable(sentence)}\n" for sentence in sentences(host))
    if not coverage.hosts:
        out.write("# No batch of this time is stored: what happened is unknown.\n")
    out.flush()


def _print_json(
    query: EventQuery, found: QueryResult, timeline: Timeline, coverage: RecordingCoverage, window: TimelineRange
) -> None:
    before, after = timeline.lines()
    for line in (*before, *after):
        sys.stdout.write((line.text[:-1] + ', "alert": true}' if line.is_trigger else line.text) + "\n")
    summary = {
        "id": query.id,
        "rule": None if found.alert is None else found.alert.rule,
        "from": window.start,
        "time": window.alert,
        "until": window.end,
        "is_found": timeline.is_found,
        "left_out_before": timeline.too_early,
        "left_out_after": timeline.too_late,
        "remarks": _remarks(found, timeline, query),
        "hosts": {host.hostname: sentences(host) for host in coverage.hosts.values()},
    }
    sys.stdout.write(json.dumps({"context": summary}) + "\n")
    sys.stdout.flush()
