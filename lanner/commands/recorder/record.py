"""`lanner record`: records events to a file."""

from pathlib import Path

import click

from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.signals import Signals
from lanner.cli.terminal.output import StatusLine, note
from lanner.cli.terminal.run_summary import Summary
from lanner.errors import BadInput
from schemas.batch import EventBatch, events_lost
from schemas.text.counts import count_of


@front_command(
    "record",
    example="sudo lanner record incident.avro\nsudo lanner record --scap incident.scap.gz",
    formats=(),
    without=NO_RULES,
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only this event type; repeatable.")
@click.option("--scap", is_flag=True, help="Write a capture (.scap) for Stratoshark; a FILE.gz is compressed.")
def command(options: Options, file: Path, types: tuple[str, ...], *, scap: bool) -> None:
    """Record events to FILE until Ctrl-C.

    FILE holds events, not alerts: `lanner replay FILE` evaluates them with the rules active then. It is an Avro file,
    or with --scap a capture, which is written at the end: events are in FILE.avro.part until then.
    """
    import sys

    from collector.events.system_calls import EVERYTHING
    from lanner.captures.writing.spool import CaptureSpool
    from lanner.wiring.collector import make_collector
    from schemas.codec import encode_batch
    from schemas.encoding.recording import RecordingWriter

    settings = options.settings()
    if unknown := [name for name in types if name not in EVERYTHING]:
        raise BadInput(f"--type {unknown[0]}: no such event type. Use one of: {' '.join(sorted(EVERYTHING))}")
    summary = Summary()
    status = StatusLine(sys.stderr, enabled=not options.quiet)
    lines: list[str] = []

    with Signals() as signals:
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
            while not signals.stop:
                collector.poll(0.1)
                status.show(f"recording: {count_of(summary.events, 'event')}, {events_lost(collector.losses):,} lost")
            collector.stop()
            writer.close()
            if spool is not None:
                status.show(f"writing {file}")
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
        finally:
            status.clear()
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
