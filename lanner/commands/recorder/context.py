"""`lanner context`: shows what happened on a host around an alert."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from lanner.captures.writing.spool import CaptureSpool
from lanner.cli.app import Options, front_command
from lanner.cli.options.source import chosen_recording, source_options
from lanner.cli.options.times import parse_duration_ms
from lanner.cli.signals import Signals
from lanner.cli.terminal.output import StatusLine, note
from lanner.errors import BadInput
from lanner.recorder.around.peers import HostReading, JoinedContext, joined_contexts
from lanner.recorder.around.reading import read_context
from lanner.recorder.batches import StoredBatch
from lanner.recorder.coverage import RecordingCoverage
from lanner.recorder.output import FLAT_LIMIT, TREE_LIMIT, Around, Form, form_of
from lanner.recorder.query import EventQuery, QueryResult, parse_alert_id
from lanner.recorder.rolling.search import from_recording
from lanner.recorder.timeline import TimelineRange
from lanner.recorder.tree.activity import activity_maker
from lanner.recorder.tree.family import Family
from processor.detection.redaction import Redaction
from schemas.codec import encode_batch
from schemas.text.times import date_and_time_seconds


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
    status = StatusLine(sys.stderr, enabled=not options.quiet)
    with Signals() as signals:
        if recording is not None:
            found = from_recording(query, recording, settings)
        else:
            from lanner.recorder.topic.search import from_topic

            found = from_topic(query, settings, lambda: signals.stop, status)
        with _spool(scap) as spool:
            _show(query, found, settings.redact, form, _Progress(status, lambda: signals.stop, spool))


@dataclass(frozen=True, slots=True)
class _Progress:
    status: StatusLine
    stop: Callable[[], bool]
    spool: CaptureSpool | None = None
    """Receives what a capture is to hold."""

    def take(self, stored: StoredBatch) -> None:
        """Take a batch that is searched."""
        self.status.show(f"searching: {date_and_time_seconds(stored.appended * 1_000_000)}")
        if self.spool is not None:
            with _faults(self.spool.file):
                self.spool.writer.write(encode_batch(stored.batch))


@contextmanager
def _spool(file: Path | None) -> Iterator[CaptureSpool | None]:
    """Open what collects the batches of a capture, and remove it at the end."""
    if file is None:
        yield None
        return
    with _faults(file):
        spool = CaptureSpool(file)
    try:
        yield spool
    finally:
        spool.path.unlink(missing_ok=True)


@contextmanager
def _faults(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror}.") from None


def _show(query: EventQuery, found: QueryResult, redact: tuple[str, ...], form: Form, progress: _Progress) -> None:
    trigger_time = found.alert.time if found.alert is not None else query.time * 1_000_000 + 999_999
    window = TimelineRange(
        trigger_time - query.before * 1_000_000, trigger_time, trigger_time + query.after * 1_000_000
    )
    redaction = Redaction(redact)
    context = read_context(
        found.batches,
        window,
        found.is_trigger,
        form.write(redaction),
        query.limit,
        stop=progress.stop,
        on_batch=progress.take,
    )
    progress.status.clear()
    if progress.spool is not None:
        with _faults(progress.spool.file):
            host = _host(found, context.coverage)
            written = progress.spool.finish(host, lambda time: window.start <= time <= window.end)
        for line in written.lines():
            note(f"{progress.spool.file}: {line}.")

    def joined(tree: Family) -> list[JoinedContext]:
        host = _host(found, context.coverage)
        if found.source is None or not host:
            return []
        progress.status.show("searching for the other ends of connections")
        how = HostReading(found.source, partial(activity_maker, redaction=redaction), query.limit, progress.stop)
        others = joined_contexts(tree, host, window, how)
        progress.status.clear()
        return others

    form.show(Around(query, found, context.timeline, context.coverage, window, joined))


def _host(found: QueryResult, coverage: RecordingCoverage) -> str:
    """Return the id of the host that the tree is about."""
    return found.alert.host_id if found.alert is not None else next(iter(coverage.hosts), "")
