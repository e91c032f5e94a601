"""`lanner collector`: publishes this host's events to Kafka."""

import json
import sys
from pathlib import Path

import click

from foundation.text import count_of, printable
from lanner.cli.app import NO_RULES, Group, Options, front_command, shared_options
from lanner.cli.tables import COLLECTOR
from lanner.libraries import need
from lanner.process import Signals, Watchdog, notify_systemd
from lanner.settings import LoadedSettings
from lanner.terminal.output import note
from lanner.wiring.kafka import connection_of
from schemas.batch import events_lost
from schemas.filter import PushdownFilter

POLL_SECONDS = 0.25
REST_SECONDS = 1.0
"""How long to sleep while nothing comes; a record or a signal ends it."""
FLUSH_SECONDS = 5.0


def _collect(options: Options) -> None:
    """Collect until a signal arrives."""
    need("collector", "confluent_kafka")
    from collector.bpf.program import check_rights
    from collector.kernel_feed import ProgramLoading
    from lanner.operations.collector import CollectorView
    from lanner.terminal.logs import log_to_stderr
    from lanner.wiring.program import load_program
    from lanner.wiring.servers import endpoint
    from lanner.wiring.stages.fleet_collector import FleetCollector, own_filter

    loaded = options.load()
    settings = loaded.settings
    log_to_stderr(settings.log_level, settings.log_format, "collector")
    programs: list[ProgramLoading] = []
    own = own_filter(
        lambda: checked_filter(loaded, warnings=not options.quiet), lambda: programs.append(load_program(settings))
    )
    # Before anything is opened or a broker is waited for.
    check_rights()
    connection = connection_of(settings)
    made = FleetCollector(settings, connection, own, *programs)
    collector, publisher = made.collector, made.publisher
    limit = settings.kafka.spool_mib << 20
    view = CollectorView(collector, publisher, made.spool, limit, stuck_seconds=settings.http.stuck_seconds)
    with endpoint(settings, "collector", view.readings, view.health()), Signals() as signals:
        try:
            collector.start()
            if made.actions is not None:
                made.actions.start()
            if not options.quiet:
                note(
                    f"watching {collector.hostname} for the broker at {connection.bootstrap_servers}, "
                    f"{len(collector.intake.event_types)} event types, as {made.filter.asker} require. Stop: Ctrl-C"
                )
            notify_systemd("READY=1")
            watchdog = Watchdog()
            while not signals.stop:
                rested = not publisher.has_waiting and collector.rest(REST_SECONDS, signals.descriptor)
                collector.poll(0 if rested else POLL_SECONDS)
                signals.drain()
                publisher.poll()
                made.filter.follow(collector)
                watchdog.beat()
                view.turned.beat()
        finally:
            notify_systemd("STOPPING=1")
            left = made.stop(FLUSH_SECONDS)
            if left and not options.quiet:
                note(f"{left} batches remain in {Path(settings.kafka.spool_dir)}; the next collector here sends them.")
    if not options.quiet:
        note(
            f"{count_of(collector.events, 'event')}, {count_of(publisher.delivered, 'batch', 'batches')} sent, "
            f"{count_of(events_lost(collector.losses), 'event')} lost"
        )


def checked_filter(loaded: LoadedSettings, *, warnings: bool) -> PushdownFilter:
    """Check the settings, and return the filter of this host's rule files. Raises BadInput."""
    from lanner.wiring.check import check_settings

    detection = check_settings(loaded, "collector", warnings=warnings)
    assert detection is not None  # noqa: S101  a collector needs rules
    return detection.pushdown_filter


def _command(options: Options) -> None:
    """Watch this host and send its events to Kafka, where processors evaluate them.

    While the broker is unavailable, batches wait on disk (kafka.spool_dir); they are sent later, in order. Published
    rules decide which events are collected. If none are published, this host's rule files do, so deploy the processors'
    rule files to the collectors. SIGTERM sends what is left and exits.
    """
    ctx = click.get_current_context()
    ctx.obj = options
    if ctx.invoked_subcommand is None:
        from lanner.process import (
            avro_without_snappy,
            collect_cycles_rarely,
            hash_without_openssl,
            import_core,
            keep_memory_small,
            return_free_memory,
        )

        hash_without_openssl()
        avro_without_snappy()
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
    example="sudo lanner collector -o kafka.bootstrap_servers=kafka-1:9092\nsudo lanner collector key",
)(shared_options(_command, formats=()))


@front_command("key", example="sudo lanner collector key", without=NO_RULES)
def show_key(options: Options) -> None:
    """Print this host's id and its public key, as `lanner hosts enroll` takes them.

    Creates the key if there is none, so a host can be enrolled before its collector first starts. The private key stays
    in its file (collector.key_file).
    """
    from collector.host import this_host
    from lanner.wiring.stages.collector import signing_identity

    settings = options.settings()
    identity = signing_identity(settings, this_host(settings.host.id or "", settings.host.name or ""))
    public = identity.key.public_key.hex()
    if settings.json_output:
        record = {"host_id": identity.host_id, "hostname": identity.hostname, "public_key": public}
        sys.stdout.write(json.dumps(record) + "\n")
    else:
        sys.stdout.write(f"{printable(identity.host_id)} {public}\n")
        if not options.quiet:
            note("to enroll this host, run: lanner hosts enroll ID KEY")
