"""`lanner alerts list`: stored alerts."""

import sys
import time

import click

from bus.topics import ALERTS
from lanner.cli.app import ALERT_FORMATS, Options, front_command
from lanner.cli.options.alerts import AlertFilter, alert_filter
from lanner.cli.options.times import time_ms
from lanner.cli.signals import Signals
from lanner.cli.terminal.alert_printer import PrintedAlerts
from lanner.cli.terminal.output import StatusLine, note
from lanner.errors import BadInput
from lanner.wiring.kafka import connection_of, need
from lanner.wiring.sinks.printed import alert_lines

MARGIN_MS = 60_000
"""An alert is published after its event happened; much later if processors lagged."""


@front_command(
    "list",
    example="lanner alerts list --since 24h --priority warning --rule 'Read sensitive*' --host 'web-*'",
    formats=ALERT_FORMATS,
)
@alert_filter
@click.option(
    "--since", metavar="TIME", default="24h", show_default=True, help="A duration before now, or a date and time."
)
@click.option("--until", metavar="TIME", help="Not later than this.  [default: now]")
def command(options: Options, selection: AlertFilter, since: str, until: str | None) -> None:
    """Print the alerts that the topic retains (7 days by default), and exit.

    They are in the order in which processors published them; --since and --until apply to the times of the events.
    Duplicates are printed once.
    """
    need("processor", "confluent_kafka")
    from bus.clients.history import TopicHistory

    now = time.time_ns() // 1_000_000
    first, last = time_ms(since, "--since", now) or 0, time_ms(until, "--until", now) or now
    if last < first:
        raise BadInput("--until is before --since.")
    settings = options.settings()
    connection = connection_of(settings)
    printed = PrintedAlerts(alert_lines(settings, sys.stdout), connection, sys.stdout)
    status = StatusLine(sys.stderr, enabled=not options.quiet)
    with Signals() as signals:
        past = TopicHistory(connection, connection.topic(ALERTS))
        try:
            bounds = past.between(first - MARGIN_MS, None)
            for number, message in enumerate(past.read_in_order(bounds, lambda: signals.stop)):
                status.show(f"searching: {number:,} alerts, {printed.count:,} shown")
                alert = printed.decoded(message)
                if alert is not None and first <= alert.time // 1_000_000 <= last and selection.matches(alert):
                    status.clear()
                    printed.show(alert)
        finally:
            status.clear()
            past.close()
    if not options.quiet and not printed.count:
        note("no stored alert matches.")
