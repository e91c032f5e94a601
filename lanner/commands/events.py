"""`lanner events tail` and `lanner record`: this host's events, printed or recorded."""

import json
import sys
from pathlib import Path

import click

from foundation.text import count_of
from lanner.cli.app import NO_RULES, Group, Options, front_command
from lanner.cli.options import progress
from lanner.cli.tables import EVENTS
from lanner.errors import BadInput
from lanner.process import Signals
from lanner.recorder.event_rows import lines, rows
from lanner.terminal.alert_text import Summary
from lanner.terminal.output import note
from processor.output.redaction import Redaction
from schemas.batch import EventBatch, events_lost


@click.group("events", cls=Group, lazy=EVENTS, example="sudo lanner events tail")
def command() -> None:
    """Show events."""


@front_command("tail", example="sudo lanner events tail --type execve --type openat", without=NO_RULES)
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only this event type; repeatable.")
def tail_events(options: Options, types: tuple[str, ...]) -> None:
    """Print the events that rules are evaluated on, one line each, until Ctrl-C."""
    from collector.events.system_calls import EVERYTHING
    from lanner.wiring.stages.collector import make_collector

    settings = options.settings()
    redaction = Redaction(settings.redact)
    if unknown := [name for name in types if name not in EVERYTHING]:
        raise BadInput(f"--type {unknown[0]}: no such event type. Use one of: {' '.join(sorted(EVERYTHING))}")

    def show(batch: EventBatch) -> None:
        written = map(_json, rows(batch, redaction)) if settings.json_output else lines(batch, redaction)
        sys.stdout.writelines(f"{line}\n" for line in written)
        sys.stdout.flush()

    collector = make_collector(settings, types or EVERYTHING, show)
    with Signals() as signals:
        try:
            collector.start()
            while not signals.stop:
                collector.poll(0.1)
        finally:
            collector.stop()
            if not options.quiet and (lost := events_lost(collector.losses)):
                note(f"{count_of(lost, 'event')} lost: {dict(collector.losses)}")


def _json(row: dict[str, object]) -> str:
    # ASCII, because rows quote what an attacker wrote.
    return json.dumps(row, default=list)


@front_command(
    "record",
    example="sudo lanner record incident.avro\nsudo lanner record --scap incident.scap.gz",
    formats=(),
    without=NO_RULES,
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only this event type; repeatable.")
@click.option("--scap", is_flag=True, help="Write a capture (.scap) for Stratoshark; a FILE.gz is compressed.")
def record(options: Options, file: Path, types: tuple[str, ...], *, scap: bool) -> None:
    """Record events to FILE until Ctrl-C.

    FILE has events, not alerts: `lanner replay FILE` evaluates them with the rules active then. It is an Avro file,
    or with --scap a capture, which is written at the end: events are in FILE.avro.part until then.
    """
    from collector.events.system_calls import EVERYTHING
    from lanner.captures.writer import CaptureSpool
    from lanner.wiring.stages.collector import make_collector
    from schemas.encoding.batch import encode_batch
    from schemas.encoding.recording import RecordingWriter

    settings = options.settings()
    if unknown := [name for name in types if name not in EVERYTHING]:
        raise BadInput(f"--type {unknown[0]}: no such event type. Use one of: {' '.join(sorted(EVERYTHING))}")
    summary = Summary()
    lines: list[str] = []

    with progress(quiet=options.quiet) as search:
        try:
            spool = CaptureSpool(file) if scap else None
            writer = RecordingWriter(file) if spool is None else spool.writer
        except OSError as error:
            raise BadInput(f"{file}: {error.strerror}.") from None

        def write(batch: EventBatch) -> None:
            writer.write(encode_batch(batch))
            summary.events += batch.total

        collector = make_collector(settings, types or EVERYTHING, write)
        try:
            collector.start()
            if not options.quiet:
                note(f"recording {collector.hostname} to {file}. Stop: Ctrl-C")
            while not search.stop():
                collector.poll(0.1)
                search.show(f"recording: {count_of(summary.events, 'event')}, {events_lost(collector.losses):,} lost")
            collector.stop()
            writer.close()
            if spool is not None:
                search.show(f"writing {file}")
                lines = spool.finish().lines()
        except OSError as error:
            _abandon(collector, writer)
            recording = file if spool is None else spool.path
            raise BadInput(
                f"{file}: {error.strerror}; {count_of(summary.events, 'event')} written to {recording}, "
                "which can be replayed."
            ) from None
        except BaseException:
            _abandon(collector, writer)
            raise
    if not options.quiet:
        note(f"{file}: {count_of(summary.events, 'event')}, {events_lost(collector.losses):,} lost")
        for line in lines:
            note(f"{file}: {line}.")


def _abandon(*parts: object) -> None:
    """Close what is open, ignoring a full disk."""
    import contextlib

    for part in parts:
        with contextlib.suppress(OSError):
            getattr(part, "stop", getattr(part, "close", None))()  # type: ignore[misc]
