"""`lanner alerts tail`: alerts as they come."""

import sys
import time

import click

from bus.topics import ALERTS
from lanner.alert_filter import AlertFilter, alert_filter
from lanner.broker import connection_of, need
from lanner.front import Options, front_command
from lanner.moments import moment_ms
from lanner.printed_alerts import PrintedAlerts
from lanner.signals import Signals
from lanner.terminal import note

POLL_SECONDS = 0.2


@front_command("tail", example="lanner alerts tail --since 1h --rule 'Read sensitive*' --tag container --format json")
@alert_filter
@click.option("--since", metavar="TIME", help="Begin that long ago (30m, 24h, 7d), or at a date and time.")
def command(options: Options, wanted: AlertFilter, since: str | None) -> None:
    """Print alerts as they come from the processors, until Ctrl-C; one that comes twice is printed once."""
    need("processor", "confluent_kafka")
    from bus.consuming import Reader

    settings = options.settings()
    connection = connection_of(settings)
    since_ms = moment_ms(since, "--since", time.time_ns() // 1_000_000)
    printed = PrintedAlerts(settings, connection, sys.stdout)
    with Signals() as signals:
        reader = Reader(connection, connection.topic(ALERTS), since_ms=since_ms)
        if not options.quiet:
            note(f"alerts from {connection.bootstrap_servers}. Stop: Ctrl-C")
        try:
            while not signals.stop:
                message = reader.poll(POLL_SECONDS)
                alert = None if message is None else printed.decoded(message)
                if alert is not None and wanted.takes(alert):
                    printed.show(alert)
        finally:
            reader.close()
