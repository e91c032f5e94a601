"""`lanner notifier`: delivers a fleet's alerts to sinks."""

import os
import sys
import time

import click

from bus.connection import Connection
from foundation.files import FileWatch
from lanner.cli.app import ALERT_FORMATS, Options, front_command
from lanner.errors import BadInput
from lanner.libraries import need
from lanner.process import Signals, Watchdog, notify_systemd
from lanner.settings import Settings, find_file
from lanner.settings.faults import locating
from lanner.settings.sections.model import COMMANDS, sinks_of
from lanner.terminal.output import error_line, note
from lanner.wiring.check import check_settings
from lanner.wiring.kafka import connection_of, reachable_connection
from lanner.wiring.sinks.registry import open_sink
from lanner.wiring.stages.notifier import (
    Deliveries,
    from_json,
    marked_alert,
    open_approvals,
    open_intake,
    with_rule_texts,
)
from notifier.sink import Delivered, RateLimited, RoutedAlert, Undeliverable
from schemas.alert import Alert

POLL_SECONDS = 0.2
WATCH_SECONDS = 1.0
STOP_SECONDS = 5.0


@front_command(
    "notifier",
    example="lanner notifier slack siem.ecs\nlanner notifier slack --listen 0.0.0.0:2801\n"
    "lanner notifier slack --local --listen 127.0.0.1:2801\nlanner notifier test slack\n"
    "lanner notifier preview slack --event alert.json",
    formats=ALERT_FORMATS,
)
@click.argument("sinks", nargs=-1, required=True, metavar="SINK...")
@click.option("--listen", metavar="HOST:PORT", help="Accept alerts from Falco over HTTP, as falcosidekick does.")
@click.option("--local", is_flag=True, help="No broker: queue what --listen accepts in outboxes on this host's disk.")
@click.option("--event", metavar="FILE|JSON", help="For preview: an alert as JSON, as file or text.")
@click.option("--num", "number", type=int, help="For preview: which alert of the file, from 1.")
def command(
    options: Options, sinks: tuple[str, ...], listen: str | None, *, event: str | None, number: int | None, local: bool
) -> None:
    """Deliver alerts from Kafka to sinks; each sink is a consumer group of its own.

    Sinks are stdout, file, syslog, slack, webhook, apprise, siem.falco, siem.ecs, siem.ocsf, siem.cim, and those
    named in the setting `sinks`.
    `test SINK` sends one marked alert; `preview SINK` prints an alert as the sink would send it. SIGHUP reloads
    settings and secrets, SIGUSR1 reopens files.
    """
    loaded = options.load()
    settings = loaded.settings
    word, names = (sinks[0], sinks[1:]) if sinks[0] in COMMANDS else ("", sinks)
    known = sinks_of(settings)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        # A sink may be unknown because its settings could not be read.
        loaded.valid()
        shown = f"there is no sink {unknown[0]!r}; " if unknown else ""
        raise click.UsageError(f"{shown}sinks are: {', '.join(known)}.")
    if word:
        loaded.valid()
        with locating(loaded.tree):
            if word == "preview":
                alert = marked_alert() if event is None else from_json(event, number)
                _preview(settings, names, with_rule_texts(alert, settings))
            else:
                for name in names:
                    _try(settings, name)
    else:
        listen = listen or settings.intake.listen
        if local and not listen:
            raise click.UsageError("--local needs --listen: without a broker there is no other source of alerts.")
        if local and (topics := [name for name in names if name.startswith("siem.")]):
            raise click.UsageError(f"{topics[0]} is a topic of the broker, so it can't be used with --local.")
        names = tuple(dict.fromkeys(names))
        check_settings(loaded, "notifier", sinks=names, needs_broker=not local)
        _deliver(options, settings, names, listen, None if local else _broker(settings, names))


def _broker(settings: Settings, names: tuple[str, ...]) -> Connection:
    need("notifier", "confluent_kafka")
    from bus.topics import ALERTS, NOTIFIER_DEAD_LETTERS
    from lanner.wiring.kafka import topics_in_order

    connection = connection_of(settings)
    topics_in_order(connection, [ALERTS, NOTIFIER_DEAD_LETTERS, *(name for name in names if name.startswith("siem."))])
    return connection


def _deliver(
    options: Options, settings: Settings, names: tuple[str, ...], listen: str | None, connection: Connection | None
) -> None:
    from lanner.operations.notifier import NotifierView
    from lanner.terminal.logs import log_to_stderr
    from lanner.wiring.servers import endpoint

    log_to_stderr(settings.log_level, settings.log_format, "notifier")
    deliveries = Deliveries(settings, names, connection)
    intake = None
    approvals = open_approvals(settings, names, connection)
    view = NotifierView(
        deliveries.views,
        settings.http.stuck_seconds,
        settings.http.oldest_undelivered_seconds,
        lambda: None if intake is None else intake.server.stats,
        lambda: deliveries.current,
    )
    path = find_file(options.config, os.environ)
    watch, watch_at = FileWatch([] if path is None else [path.absolute()]), 0.0
    with endpoint(settings, "notifier", view.readings, view.health()), Signals() as signals:
        try:
            deliveries.start()
            if listen:
                need("notifier", "aiohttp")
                intake = open_intake(settings, listen, deliveries)
            notify_systemd("READY=1")
            if not options.quiet:
                origin = connection.bootstrap_servers if connection else "outboxes on this host"
                note(f"alerts from {origin} go to {', '.join(names)}. Stop: Ctrl-C")
                if intake is not None:
                    note(f"accepting alerts at {intake.address}")
            watchdog = Watchdog()
            while not signals.stop:
                time.sleep(POLL_SECONDS)
                watchdog.beat()
                view.turned.beat()
                if intake is not None and not intake.server.is_alive:
                    raise BadInput(
                        "intake: internal error; this is a bug in Lanner. Accepted alerts are sent after a restart."
                    )
                if signals.take_reopen():
                    deliveries.reopen()
                requested = signals.take_reload()
                if time.monotonic() >= watch_at:
                    watch_at = time.monotonic() + WATCH_SECONDS
                    requested = requested or (bool(watch.changed()) and settings.watch_config_files)
                    deliveries.look(settings)
                if requested:
                    settings = _changed(options, settings, deliveries)
        finally:
            notify_systemd("STOPPING=1")
            if approvals is not None:
                approvals.stop()
            if intake is not None:
                intake.server.stop(STOP_SECONDS)
            deliveries.stop()
    if not options.quiet:
        for line in (*deliveries.summary(), *([] if intake is None else [intake.summary()])):
            note(line)


def _changed(options: Options, before: Settings, deliveries: Deliveries) -> Settings:
    """Reload settings and secrets; on errors, report them and keep the previous settings."""
    notify_systemd(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
    settings = before
    try:
        loaded = options.load()
        check_settings(loaded, "notifier", sinks=deliveries.names, needs_broker=deliveries.connection is not None)
        deliveries.change(loaded.settings)
    except BadInput as error:
        for message in error.messages:
            error_line(message)
        error_line("keeping the previous settings.")
    else:
        settings = loaded.settings
        for name in ("kafka", "intake", "notifier"):
            if getattr(settings, name) != getattr(before, name):
                note(f"changes to {name} take effect after a restart.")
        note("settings reloaded.")
    notify_systemd("READY=1")
    return settings


def _try(settings: Settings, name: str) -> None:
    connection = None
    if name.startswith("siem."):
        need("notifier", "confluent_kafka")
        connection = reachable_connection(settings)
    sink = open_sink(settings, name, connection=connection)
    try:
        outcome = sink.send([RoutedAlert(marked_alert())])
    finally:
        sink.close()
    match outcome:
        case Delivered():
            note(f"{name}: the test alert was accepted.")
        case Undeliverable(reason):
            raise BadInput(f"{name}: refused the test alert: {reason}.")
        case RateLimited():
            raise BadInput(f"{name}: rate-limited; try again shortly.")
        case _:
            raise BadInput(f"{name}: {outcome.reason}.")


def _preview(settings: Settings, names: tuple[str, ...], alert: Alert) -> None:
    from lanner.wiring.stages.notifier import preview

    for name in names:
        sys.stdout.write(preview(settings, name, alert, note) + "\n")
