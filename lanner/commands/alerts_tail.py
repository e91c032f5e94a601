"""`lanner alerts tail`: alerts as they come."""

import fnmatch
import sys
import time

import click

from bus.topics import ALERTS, duration_ms
from lanner.broker import connection_of, need
from lanner.delivering import line_style
from lanner.failures import BadInput
from lanner.front import Options, front_command
from lanner.signals import Signals
from lanner.terminal import coloured, note, paint
from notifier.lines import line_of
from schemas.alert import Alert, BadAlert, decode_alert

POLL_SECONDS = 0.2
_REMEMBERED_IDS = 100_000


@front_command("tail", example="lanner alerts tail --since 1h --rule 'Read sensitive*' --format json")
@click.option("--since", metavar="TIME", help="Begin that long ago: 30m, 24h, 7d.")
@click.option("--rule", metavar="PATTERN", help="Only rules of such a name; * stands for any text.")
@click.option("--host", metavar="PATTERN", help="Only hosts of such a name.")
def command(options: Options, since: str | None, rule: str | None, host: str | None) -> None:
    """Print alerts as they come from the processors, until Ctrl-C; one that comes twice is printed once."""
    need("processor", "confluent_kafka")
    from bus.consuming import Reader

    settings = options.settings()
    connection = connection_of(settings)
    since_ms = None
    if since is not None:
        try:
            since_ms = time.time_ns() // 1_000_000 - duration_ms(since)
        except ValueError as error:
            raise BadInput(f"--since: {error}.") from None
    line = line_of(line_style(settings))
    colour = coloured(sys.stdout) and not settings.json_output
    seen: dict[str, None] = {}
    with Signals() as signals:
        reader = Reader(connection, connection.topic(ALERTS), since_ms=since_ms)
        if not options.quiet:
            note(f"alerts from {connection.bootstrap_servers}. Stop: Ctrl-C")
        try:
            while not signals.stop:
                message = reader.poll(POLL_SECONDS)
                if message is None:
                    continue
                try:
                    alert = decode_alert(message.value() or b"")
                except BadAlert as error:
                    note(f"{message.topic()}[{message.partition()}] at {message.offset()}: {error}.")
                    continue
                if alert.id in seen or not _wanted(alert, rule, host):
                    continue
                seen[alert.id] = None
                if len(seen) > _REMEMBERED_IDS:
                    del seen[next(iter(seen))]
                text = line(alert)
                sys.stdout.write((paint(text, alert.priority) if colour else text) + "\n")
                sys.stdout.flush()
        finally:
            reader.close()


def _wanted(alert: Alert, rule: str | None, host: str | None) -> bool:
    return (rule is None or fnmatch.fnmatchcase(alert.rule, rule)) and (
        host is None or fnmatch.fnmatchcase(alert.hostname, host)
    )
