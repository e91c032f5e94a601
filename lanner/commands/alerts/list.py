"""`lanner alerts list`: alerts that were kept."""

import sys
import time

import click

from bus.topics import ALERTS
from lanner.cli.app import Options, front_command
from lanner.cli.options.alerts import AlertFilter, alert_filter
from lanner.cli.options.times import moment_ms
from lanner.cli.signals import Signals
from lanner.cli.terminal.alert_printer import PrintedAlerts
from lanner.cli.terminal.output import StatusLine, note
from lanner.errors import BadInput
from lanner.wiring.kafka import connection_of, need

MARGIN_MS = 60_000
"""An alert is sent a little later than its event happened; much later where processors lagged behind."""


@front_command(
    "list", example="lanner alerts list --since 24h --priority warning --rule 'Read sensitive*' --host 'web-*'"
)
@alert_filter
@click.option("--since", metavar="TIME", default="24h", show_default=True, help="How long ago, or a date and time.")
@click.option("--until", metavar="TIME", help="Not later than this; now, if not given.")
def command(options: Options, wanted: AlertFilter, since: str, until: str | None) -> None:
    """Print the alerts that the fleet has kept (7 days, unless the topic says otherwise), and end.

    They come in the order in which processors sent them; --since and --until are about the times of their events. One
    that came twice is printed once.
    """
    need("processor", "confluent_kafka")
    from bus.clients.history import TopicHistory

    now = time.time_ns() // 1_000_000
    first, last = moment_ms(since, "--since", now) or 0, moment_ms(until, "--until", now) or now
    if last < first:
        raise BadInput("--until is before --since.")
    settings = options.settings()
    connection = connection_of(settings)
    printed = PrintedAlerts(settings, connection, sys.stdout)
    status = StatusLine(sys.stderr, wanted=not options.quiet)
    with Signals() as signals:
        past = TopicHistory(connection, connection.topic(ALERTS))
        try:
            bounds = past.between(first - MARGIN_MS, None)
            for number, message in enumerate(past.read_in_order(bounds, lambda: signals.stop)):
                status.show(f"looking: {number:,} alerts, {printed.count:,} shown")
                alert = printed.decoded(message)
                if alert is not None and first <= alert.time // 1_000_000 <= last and wanted.takes(alert):
                    status.clear()
                    printed.show(alert)
        finally:
            status.clear()
            past.close()
    if not options.quiet and not printed.count:
        note("no such alert is kept.")
