"""`lanner alerts list` and `lanner alerts tail`: stored alerts, and alerts as they arrive."""

import fnmatch
import functools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import click

from bus.topics import ALERTS
from foundation.caches import BoundedSet
from foundation.text import count_of
from lanner.cli import tables
from lanner.cli.app import ALERT_FORMATS, NO_RULES, Group, Options, front_command
from lanner.cli.options import chosen_recording, progress, source_options, time_ms
from lanner.errors import BadInput
from lanner.libraries import need
from lanner.process import Signals
from lanner.recorder.store import EventRange
from lanner.terminal.output import note
from lanner.wiring.kafka import reachable_connection
from lanner.wiring.sinks.lines import alert_lines
from lanner.wiring.stores import open_events
from notifier.formats.falco import Line
from schemas.alert import Alert
from schemas.catalog.priorities import BY_NAME, SEVERITY


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Selects alerts that meet all of these conditions."""

    priority: str = "debug"
    """This priority or higher."""
    rule: str = "*"
    host: str = "*"
    tags: tuple[str, ...] = ()

    def matches(self, alert: Alert) -> bool:
        """Return whether the filter selects an alert."""
        return (
            SEVERITY.get(alert.priority, 0) <= BY_NAME[self.priority]
            and fnmatch.fnmatchcase(alert.rule, self.rule)
            and (fnmatch.fnmatchcase(alert.hostname, self.host) or alert.host_id == self.host)
            and set(self.tags) <= set(alert.tags)
        )


_OPTIONS = (
    click.option("--priority", type=click.Choice(tuple(BY_NAME), case_sensitive=False), default="debug",
                 help="Only alerts of this priority or higher."),
    click.option("--rule", metavar="PATTERN", default="*", help="Only rules with this name; * matches any text."),
    click.option("--host", metavar="PATTERN", default="*", help="Only hosts with this name or id."),
    click.option("--tag", "tags", metavar="TAG", multiple=True, help="Only alerts with this tag; repeatable."),
)  # fmt: skip


def alert_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command; they are passed as one `AlertFilter`, `selection`."""

    @functools.wraps(function)
    def wrapped(*args: Any, priority: str, rule: str, host: str, tags: tuple[str, ...], **rest: Any) -> Any:
        return function(*args, selection=AlertFilter(priority.lower(), rule, host, tags), **rest)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


_REMEMBERED_IDS = 100_000


class PrintedAlerts:
    """Prints alerts; skips those printed before."""

    def __init__(self, line: Line, stream: TextIO) -> None:
        """Take what renders an alert, and the output stream."""
        self.count = 0
        """Alerts printed."""
        self._line = line
        self._stream = stream
        self._printed: BoundedSet[str] = BoundedSet(_REMEMBERED_IDS)

    def show(self, alert: Alert) -> None:
        """Print an alert."""
        if not self._printed.add(alert.id):
            return
        self.count += 1
        self._stream.write(self._line(alert) + "\n")
        self._stream.flush()


@click.group("alerts", cls=Group, lazy=tables.ALERTS, example="lanner alerts tail --since 1h")
def command() -> None:
    """Show the alerts of this host, or of a fleet."""


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
def list_alerts(
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
    with progress(quiet=options.quiet) as search:
        store = open_events(settings, recording, note)
        for number, alert in enumerate(store.alerts(EventRange(first), search.stop)):
            search.show(f"searching: {count_of(number, 'alert')}, {printed.count:,} shown")
            if first <= alert.time // 1_000_000 <= last and selection.matches(alert):
                search.clear()
                printed.show(alert)
            if search.stop():
                break
    if not options.quiet and not printed.count:
        note("no stored alert matches.")


POLL_SECONDS = 0.2


@front_command(
    "tail",
    example="lanner alerts tail --since 1h --rule 'Read sensitive*' --tag container --format json",
    formats=ALERT_FORMATS,
    without=NO_RULES,
)
@alert_filter
@click.option("--since", metavar="TIME", help="Start this long ago (30m, 24h, 7d), or at a date and time.")
def tail_alerts(options: Options, selection: AlertFilter, since: str | None) -> None:
    """Print alerts as processors publish them, until Ctrl-C. Duplicates are printed once."""
    settings = options.settings()
    need("processor", "confluent_kafka")
    connection = reachable_connection(settings)
    from bus.clients.readers import TopicReader

    since_ms = time_ms(since, "--since", time.time_ns() // 1_000_000)
    printed = PrintedAlerts(alert_lines(settings, sys.stdout), sys.stdout)
    from lanner.recorder.topic import reader_of_alerts

    read = reader_of_alerts(connection, note)
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
