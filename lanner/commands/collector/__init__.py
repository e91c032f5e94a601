"""`lanner collector`: publishes this host's events to Kafka."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lanner.cli import systemd
from lanner.cli.app import Group, Options, shared_options
from lanner.cli.signals import Signals
from lanner.cli.tables import COLLECTOR
from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.installation.libraries import need
from lanner.settings import Settings
from lanner.wiring.kafka import connection_of
from schemas.batch import EventBatch, events_lost
from schemas.text.counts import count_of

if TYPE_CHECKING:
    from collector.publishing.spool import Spool
    from lanner.operations.readings.collector import CollectorView
    from lanner.wiring.pushdown.fleet_filter import FleetFilter

POLL_SECONDS = 0.25
REST_SECONDS = 1.0
"""How long to sleep while nothing comes; a record or a signal ends it."""
FLUSH_SECONDS = 5.0


def _collect(options: Options) -> None:
    """Collect until a signal arrives."""
    need("collector", "confluent_kafka")
    from collector.host.sequence_checkpoint import SequenceCheckpoint
    from collector.publishing.publisher import Publisher
    from lanner.cli.logging_setup import log_to_stderr
    from lanner.operations.endpoint import endpoint
    from lanner.operations.readings.collector import CollectorView
    from lanner.wiring.collector import make_collector
    from lanner.wiring.hosts.identity import identity_of
    from lanner.wiring.pushdown.fleet_filter import FleetFilter
    from lanner.wiring.pushdown.local_filter import own_filter

    loaded = options.load()
    settings = loaded.settings
    log_to_stderr(settings, "collector")
    own = own_filter(loaded, warnings=not options.quiet)
    connection = connection_of(settings)
    folder = Path(settings.kafka.spool_dir)
    spool = _spool(settings, folder)
    fleet_filter = FleetFilter(settings, connection, own, folder)
    continuity = SequenceCheckpoint(folder / "last.json")
    last = continuity.read()
    newest = 0

    def take(batch: EventBatch) -> None:
        nonlocal newest
        publisher.publish(batch)
        newest = batch.sequence
        continuity.note(batch.collector_start, batch.sequence)

    collector = make_collector(
        settings,
        fleet_filter.event_types,
        take,
        pushdown_filter=fleet_filter.plan.pushdown_filter,
        versions=fleet_filter.plan.versions,
        variables=fleet_filter.variables,
        flush_ms=settings.kafka.batch_ms,
        previous=(0, -1) if last is None else (last.start, last.sequence),
        further_losses=lambda: publisher.losses,
        on_note=note,
    )
    publisher = Publisher(
        connection, collector.host.id, spool, identity=identity_of(settings, collector.host), on_note=note
    )

    limit = settings.kafka.spool_mib << 20
    view = CollectorView(collector, publisher, spool, limit, stuck_seconds=settings.http.stuck_seconds)
    with endpoint(settings, "collector", view.readings, view.health()), Signals() as signals:
        try:
            collector.start()
            if not options.quiet:
                note(
                    f"watching {collector.hostname} for the broker at {connection.bootstrap_servers}, "
                    f"{len(collector.event_types)} event types, as {fleet_filter.asker} require. Stop: Ctrl-C"
                )
            systemd.notify("READY=1")
            _work(signals, view, fleet_filter)
        finally:
            systemd.notify("STOPPING=1")
            collector.stop()
            left = publisher.close(FLUSH_SECONDS)
            if newest:
                continuity.note(collector.started, newest, final=True)
            if left and not options.quiet:
                note(f"{left} batches remain in {folder}; the next collector here sends them.")
    if not options.quiet:
        note(
            f"{count_of(collector.events, 'event')}, {count_of(publisher.delivered, 'batch', 'batches')} sent, "
            f"{count_of(events_lost(collector.losses), 'event')} lost"
        )


def _spool(settings: Settings, folder: Path) -> "Spool":
    from collector.publishing.spool import Spool

    try:
        return Spool(folder, settings.kafka.spool_mib << 20, on_error=note)
    except OSError as error:
        raise BadInput(f"kafka.spool_dir: {folder}: {error.strerror}.") from None


def _work(signals: Signals, view: "CollectorView", fleet_filter: "FleetFilter") -> None:
    watchdog = systemd.Watchdog()
    while not signals.stop:
        rested = not view.publisher.has_waiting and view.collector.rest(REST_SECONDS, signals.descriptor)
        view.collector.poll(0 if rested else POLL_SECONDS)
        signals.drain()
        view.publisher.poll()
        fleet_filter.follow(view.collector)
        watchdog.beat()
        view.turned.beat()


def _command(options: Options) -> None:
    """Watch this host and send its events to Kafka, where processors evaluate them.

    While the broker is unavailable, batches wait on disk (kafka.spool_dir); they are sent later, in order. Published
    rules decide which events are collected. If none are published, this host's rule files do, so deploy the processors'
    rule files to the collectors. SIGTERM sends what is left and exits.
    """
    ctx = click.get_current_context()
    ctx.obj = options
    if ctx.invoked_subcommand is None:
        from lanner.cli.malloc import collect_cycles_rarely, keep_memory_small, return_free_memory
        from lanner.installation.kafka_client import import_core

        import_core()
        collect_cycles_rarely()
        keep_memory_small()
        return_free_memory()
        _collect(options)


command: click.Group = click.group(
    "collector",
    cls=Group,
    lazy=COLLECTOR,
    invoke_without_command=True,
    example="sudo lanner collector -o kafka.bootstrap_servers=kafka-1:9092\nsudo lanner collector build-cache bpf.json",
)(shared_options(_command, formats=()))
