"""`lanner notifier`: a fleet's alerts, delivered."""

import json
import sys
import time
from pathlib import Path

import click

from lanner import systemd
from lanner.broker import connection_of, need
from lanner.delivering import SINKS, addresses_of, receiver_of, worker_of
from lanner.failures import BadInput
from lanner.front import Options, front_command
from lanner.notifier_trial import from_json, marked
from lanner.settings import Settings
from lanner.signals import Signals
from lanner.terminal import note
from notifier.outbox import OutboxUnusable
from notifier.receiver import Accepted, Hold, Parcel, Refused
from notifier.tally import SinkTally
from notifier.worker import Worker

POLL_SECONDS = 0.2
STOP_SECONDS = 15.0
TRIAL = ("test", "preview")


@front_command(
    "notifier",
    example="lanner notifier slack siem.ecs\nlanner notifier test slack\n"
    "lanner notifier preview slack --event alert.json",
)
@click.argument("sinks", nargs=-1, required=True, metavar="SINK...")
@click.option("--event", type=click.Path(path_type=Path), metavar="FILE", help="For preview: an alert as JSON.")
def command(options: Options, sinks: tuple[str, ...], event: Path | None) -> None:
    """Deliver alerts from Kafka to sinks, each a consumer group of its own: stdout, file, syslog, slack, siem.*.

    `test SINK` sends one marked alert; `preview slack` prints the message that an alert becomes.
    """
    settings = options.settings()
    word, names = (sinks[0], sinks[1:]) if sinks[0] in TRIAL else ("", sinks)
    unknown = [name for name in names if name not in SINKS]
    if unknown or not names:
        shown = f"there is no sink {unknown[0]!r}; " if unknown else ""
        raise click.UsageError(f"{shown}sinks are: {', '.join(SINKS)}.")
    if word == "preview":
        _preview(names, event)
    elif word == "test":
        for name in names:
            _try(settings, name)
    else:
        _deliver(options, settings, tuple(dict.fromkeys(names)))


def _deliver(options: Options, settings: Settings, names: tuple[str, ...]) -> None:
    need("notifier", "confluent_kafka")
    from bus.topics import ALERTS, NOTIFIER_DEAD_LETTERS
    from lanner.topics_in_order import check_topics
    from notifier.kafka_line import KafkaLine

    connection = connection_of(settings)
    check_topics(connection, [ALERTS, NOTIFIER_DEAD_LETTERS, *(name for name in names if name.startswith("siem."))])
    addresses = addresses_of(settings, note)
    workers: list[Worker] = []
    lines: list[KafkaLine] = []
    with Signals() as signals:
        try:
            for name in names:
                tally = SinkTally()
                receiver = receiver_of(settings, name, note=note, connection=connection)
                try:
                    line = KafkaLine(connection, name, Path(settings.notifier.state_dir), tally)
                except OutboxUnusable as error:
                    raise BadInput(f"notifier.state_dir: {error}.") from None
                lines.append(line)
                address = addresses(name, tally)
                workers.append(worker_of(name, line, receiver, address, tally=tally, note=note))
            for worker in workers:
                worker.start()
            systemd.notify("READY=1")
            if not options.quiet:
                note(f"alerts from {connection.bootstrap_servers} go to {', '.join(names)}. Stop: Ctrl-C")
            watchdog = systemd.Watchdog()
            while not signals.stop:
                time.sleep(POLL_SECONDS)
                watchdog.beat()
                if signals.take_reopen():
                    for worker in workers:
                        worker.reopen()
        finally:
            systemd.notify("STOPPING=1")
            for worker, line in zip(workers, lines, strict=False):
                if worker.stop(STOP_SECONDS):
                    line.close()
    if not options.quiet:
        for worker in workers:
            note(_account(worker.name, worker.tally))


def _account(name: str, tally: SinkTally) -> str:
    return (
        f"{name}: {tally.sent:,} delivered, {tally.retried:,} attempts failed, {tally.dead_lettered:,} refused, "
        f"{tally.duplicates:,} duplicates, {tally.suppressed:,} not for it, {tally.muted:,} muted"
    )


def _try(settings: Settings, name: str) -> None:
    connection = None
    if name.startswith("siem."):
        need("notifier", "confluent_kafka")
        connection = connection_of(settings)
    receiver = receiver_of(settings, name, note=note, connection=connection)
    try:
        outcome = receiver.offer([Parcel(marked())])
    finally:
        receiver.close()
    match outcome:
        case Accepted():
            note(f"{name}: the test alert was accepted.")
        case Refused(reason):
            raise BadInput(f"{name}: refuses the test alert: {reason}.")
        case Hold():
            raise BadInput(f"{name}: its limit is reached; try again in a moment.")
        case _:
            raise BadInput(f"{name}: {outcome.reason}.")


def _preview(names: tuple[str, ...], event: Path | None) -> None:
    from notifier.slack.blocks import message

    if names != ("slack",):
        raise click.UsageError("only Slack has a preview: lanner notifier preview slack --event FILE")
    alert = marked() if event is None else from_json(event)
    sys.stdout.write(json.dumps(message(Parcel(alert)), indent=2) + "\n")
