"""`lanner alerts list`: stored alerts."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from lanner.cli.app import ALERT_FORMATS, NO_RULES, Options, front_command
from lanner.cli.options.alerts import AlertFilter, alert_filter
from lanner.cli.options.source import chosen_recording, source_options
from lanner.cli.options.times import time_ms
from lanner.cli.signals import Signals
from lanner.cli.terminal.alert_printer import PrintedAlerts
from lanner.cli.terminal.output import StatusLine, note
from lanner.errors import BadInput
from lanner.recorder.rolling.alerts import stored_alerts
from lanner.settings import Settings
from lanner.wiring.kafka import reachable_connection
from lanner.wiring.sinks.printing.printed import alert_lines
from schemas.alert import Alert
from schemas.text.counts import count_of


@front_command(
    "list",
    example="sudo lanner alerts list --since 24h --priority warning\n"
    "lanner alerts list --topic --rule 'Read sensitive*' --host 'web-*'",
    formats=ALERT_FORMATS,
    without=NO_RULES,
)
@alert_filter
@click.option(
    "--since", metavar="TIME", default="24h", show_default=True, help="A duration before now, or a date and time."
)
@click.option("--until", metavar="TIME", help="Not later than this.  [default: now]")
@source_options
def command(
    options: Options, selection: AlertFilter, *, since: str, until: str | None, file: Path | None, topic: bool
) -> None:
    """Print stored alerts, oldest first, and exit: those of this host, or those of the fleet if a broker is configured.

    `lanner run` stores the newest 10,000 alerts of its host, and a fleet's topic retains those of 7 days by default.
    --since and --until apply to the times of the events. Duplicates are printed once.
    """
    now = time.time_ns() // 1_000_000
    first, last = time_ms(since, "--since", now) or 0, time_ms(until, "--until", now) or now
    if last < first:
        raise BadInput("--until is before --since.")
    settings = options.settings()
    recording = chosen_recording(settings, file, topic=topic, quiet=options.quiet)
    printed = PrintedAlerts(alert_lines(settings, sys.stdout), sys.stdout)
    status = StatusLine(sys.stderr, enabled=not options.quiet)
    with Signals() as signals:
        try:
            for number, alert in enumerate(_alerts(settings, recording, first, lambda: signals.stop)):
                status.show(f"searching: {count_of(number, 'alert')}, {printed.count:,} shown")
                if first <= alert.time // 1_000_000 <= last and selection.matches(alert):
                    status.clear()
                    printed.show(alert)
                if signals.stop:
                    break
        finally:
            status.clear()
    if not options.quiet and not printed.count:
        note("no stored alert matches.")


def _alerts(settings: Settings, recording: Path | None, first: int, stop: Callable[[], bool]) -> Iterator[Alert]:
    if recording is not None:
        return stored_alerts(recording)
    from lanner.recorder.topic.alerts import retained_alerts

    return retained_alerts(reachable_connection(settings), first, None, stop)
