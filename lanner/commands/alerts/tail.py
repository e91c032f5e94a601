"""`lanner alerts tail`: alerts as they arrive."""

import sys
import time

import click

from bus.topics import ALERTS
from lanner.cli.app import ALERT_FORMATS, NO_RULES, Options, front_command
from lanner.cli.options.alerts import AlertFilter, alert_filter
from lanner.cli.options.times import time_ms
from lanner.cli.signals import Signals
from lanner.cli.terminal.alert_printer import PrintedAlerts
from lanner.cli.terminal.output import note
from lanner.installation.libraries import need
from lanner.recorder.topic.messages import reader_of_alerts
from lanner.wiring.kafka import reachable_connection
from lanner.wiring.sinks.printing.printed import alert_lines

POLL_SECONDS = 0.2


@front_command(
    "tail",
    example="lanner alerts tail --since 1h --rule 'Read sensitive*' --tag container --format json",
    formats=ALERT_FORMATS,
    without=NO_RULES,
)
@alert_filter
@click.option("--since", metavar="TIME", help="Start this long ago (30m, 24h, 7d), or at a date and time.")
def command(options: Options, selection: AlertFilter, since: str | None) -> None:
    """Print alerts as processors publish them, until Ctrl-C. Duplicates are printed once."""
    need("processor", "confluent_kafka")
    from bus.clients.readers import TopicReader

    settings = options.settings()
    connection = reachable_connection(settings)
    since_ms = time_ms(since, "--since", time.time_ns() // 1_000_000)
    printed = PrintedAlerts(alert_lines(settings, sys.stdout), sys.stdout)
    read = reader_of_alerts(connection)
    with Signals() as signals:
        reader = TopicReader(connection, connection.topic(ALERTS), since_ms=since_ms)
        if not options.quiet:
            note(f"alerts from {connection.bootstrap_servers}. Stop: Ctrl-C")
        try:
            while not signals.stop:
                message = reader.poll(POLL_SECONDS)
                alert = None if message is None else read(message)
                if alert is not None and selection.matches(alert):
                    printed.show(alert)
        finally:
            reader.close()
