"""`lanner collector`: this host's events to the broker."""

from pathlib import Path

from lanner import systemd
from lanner.broker import connection_of, need
from lanner.detection import load_detection
from lanner.failures import BadInput
from lanner.front import Options, front_command
from lanner.signals import Signals
from lanner.terminal import note
from schemas.batch import EventBatch

POLL_SECONDS = 0.1
FLUSH_SECONDS = 5.0


@front_command("collector", example="sudo lanner collector -o kafka.bootstrap_servers=kafka-1:9092")
def command(options: Options) -> None:
    """Watch this host and send its events to Kafka, where processors judge them.

    What the broker does not take waits on disk (kafka.spool_dir) and goes out later, in order. Published rules decide
    which events are collected; where none are published, this host's rule files do, so give the collectors those that
    the processors have. SIGTERM sends what is left.
    """
    need("collector", "confluent_kafka")
    from collector.continuity import Continuity
    from collector.publisher import Publisher
    from collector.spool import Spool
    from lanner.collecting import make_collector
    from lanner.fleet_interest import FleetInterest

    settings = options.settings()
    connection = connection_of(settings)
    detection = load_detection(settings, warnings=not options.quiet)
    folder = Path(settings.kafka.spool_dir)
    try:
        spool = Spool(folder, settings.kafka.spool_mib << 20, on_trouble=note)
    except OSError as error:
        raise BadInput(f"kafka.spool_dir: {folder}: {error.strerror}.") from None
    wanted = FleetInterest(settings, connection, detection.interest, folder)
    continuity = Continuity(folder / "last.json")
    last = continuity.read()
    newest = 0

    def take(batch: EventBatch) -> None:
        nonlocal newest
        publisher.publish(batch)
        newest = batch.sequence
        continuity.note(batch.collector_start, batch.sequence)

    collector = make_collector(
        settings,
        wanted.event_types,
        take,
        interest=wanted.wanted.interest,
        environment=wanted.environment,
        flush_ms=settings.kafka.batch_ms,
        previous=(0, -1) if last is None else (last.start, last.sequence),
        further_losses=lambda: publisher.losses,
    )
    collector.versions = wanted.wanted.versions
    publisher = Publisher(connection, collector.host.id, spool, on_note=note)

    with Signals() as signals:
        try:
            collector.start()
            if not options.quiet:
                note(
                    f"watching {collector.hostname} for the broker at {connection.bootstrap_servers}, "
                    f"{len(collector.event_types)} event types, as {wanted.asker} ask. Stop: Ctrl-C"
                )
            systemd.notify("READY=1")
            watchdog = systemd.Watchdog()
            while not signals.stop:
                collector.poll(POLL_SECONDS)
                publisher.poll()
                wanted.follow(collector)
                watchdog.beat()
        finally:
            systemd.notify("STOPPING=1")
            collector.stop()
            left = publisher.close(FLUSH_SECONDS)
            if newest:
                continuity.note(collector.started, newest, final=True)
            if left and not options.quiet:
                note(f"{left} batches wait in {folder}: they go out when a collector starts here again.")
    if not options.quiet:
        note(
            f"{collector.events:,} events, {publisher.delivered:,} batches sent, "
            f"{sum(collector.losses.values()):,} events lost"
        )
