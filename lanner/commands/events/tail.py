"""`lanner events tail`: prints events as the collector sees them."""

import json
import sys

import click

from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.signals import Signals
from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.recorder.event_rows import lines, rows
from processor.detection.redaction import Redaction
from schemas.batch import EventBatch, events_lost
from schemas.text.counts import count_of


@front_command("tail", example="sudo lanner events tail --type execve --type openat", without=NO_RULES)
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only this event type; repeatable.")
def command(options: Options, types: tuple[str, ...]) -> None:
    """Print the events that rules are evaluated on, one line each, until Ctrl-C."""
    from collector.events.system_calls import EVERYTHING
    from lanner.wiring.collector import make_collector

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
