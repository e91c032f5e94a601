"""Measure the fleet's processor on real events, in process and through Kafka.

    sudo lanner -r RULES record events.avro          a few minutes of ordinary work
    python -m bench.fleet speed events.avro RULES...     events per second, for each set of rule files (joined by +)
    python -m bench.fleet takeover                       from a kill until everything is alerted on again

It starts its own broker. Speed is measured in wall-clock time, including sending the events, and in the CPU time of the
processors, which other work disturbs less.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from bench.noise.count import compiled_rules
from bench.running import Running, acknowledged, running_broker, started, topics_on
from bus.administration import create_missing
from bus.clients.readers import TopicReader
from bus.connection import Connection, client_config
from bus.topics import ALERTS, DAY_MS, PROCESSOR_GROUP, plan
from processor.fleet.message_stage import MessageStage
from schemas.alert import decode_alert
from schemas.encoding.batch import encode_batch
from schemas.encoding.recording import read_recording
from tests.cluster.actions import Generator, rules_file

PARTITIONS = 8
EVENTS_SENT = 2_000_000


@contextmanager
def fleet(folder: Path) -> Iterator[Connection]:
    """Yield a broker with all topics."""
    with running_broker(folder / "kafka") as broker:
        yield topics_on(broker, PARTITIONS, "first.")


def fresh(connection: Connection, prefix: str) -> Connection:
    """Create topics under another prefix; return a connection to them."""
    made = replace(connection, prefix=prefix)
    create_missing(made, plan(prefix, PARTITIONS, 1, DAY_MS))
    return made


@contextmanager
def stage(
    connection: Connection, folder: Path, name: str, *rules: str, options: Sequence[str] = ()
) -> Iterator[Running]:
    """Run a stage and wait until it reports that it is ready.

    Args:
        connection: its broker and prefix.
        folder: receives its messages.
        name: the command, with its arguments.
        rules: rule files.
        options: settings, each as key=value.
    """
    errors = folder / f"messages-{time.monotonic_ns()}"
    settings = [f"kafka.bootstrap_servers={connection.bootstrap_servers}", f"kafka.prefix={connection.prefix}"]
    settings += [f"kafka.spool_dir={folder / 'spool'}", "http.listen=off", *options]
    command = [sys.executable, "-m", "lanner", *name.split(), *(part for each in settings for part in ("-o", each))]
    command += [part for each in rules for part in ("-r", each)]
    with started(command, errors, "Stop: Ctrl-C", stdout=subprocess.DEVNULL) as running:
        try:
            yield running
        finally:
            running.process.kill()


def speed(recording: str, *sets: str) -> None:
    """Measure the stage in process, then one processor, then two."""
    batches = [batch for batch in read_recording(Path(recording)) if batch.count == 500]
    encoded = [encode_batch(batch) for batch in batches]
    for each in sets:
        files = each.split("+")
        ruleset = compiled_rules(files)
        detect = MessageStage(ruleset, clock=time.monotonic)
        inside = _inside(detect, encoded, batches[0].created)
        print(f"{len(ruleset.names_of())} rules: inside the stage {inside:,.0f} events/s a core")
        with tempfile.TemporaryDirectory() as name, fleet(Path(name)) as connection:
            for workers in (1, 2):
                wall, cpu = _through(fresh(connection, f"w{workers}."), Path(name), encoded, files, workers)
                print(
                    f"  through Kafka, {workers} processors: {wall:,.0f} events/s; {cpu:,.0f} a CPU second", flush=True
                )


def _inside(detect: MessageStage, encoded: Sequence[bytes], created: int) -> float:
    best = 0.0
    for _ in range(5):
        began = time.thread_time()
        for value in encoded:
            detect.take(0, value, created // 1_000_000)
        best = max(best, 500 * len(encoded) / (time.thread_time() - began))
    return best


def _through(
    connection: Connection, folder: Path, encoded: Sequence[bytes], files: Sequence[str], workers: int
) -> tuple[float, float]:
    """Send only when all processors share the work, so that neither start-up nor rebalancing is measured."""
    generator = Generator(connection, hosts=0)
    total = EVENTS_SENT // 500
    with ExitStack() as stack:
        running = [stack.enter_context(stage(connection, folder, "processor", *files)) for _ in range(workers)]
        wait_until_shared(connection, workers)
        begun, cpu = time.monotonic(), sum(each.cpu_seconds() for each in running)
        for number in range(total):
            generator.send(encoded[number % len(encoded)], f"host-{number % 64}")
            if number % 200 == 0:
                generator.flush()
        generator.flush()
        while acknowledged(connection, PARTITIONS) < total:
            time.sleep(0.2)
        taken = time.monotonic() - begun
        return EVENTS_SENT / taken, EVENTS_SENT / (sum(each.cpu_seconds() for each in running) - cpu)


def wait_until_shared(connection: Connection, workers: int, group: str = PROCESSOR_GROUP) -> None:
    """Wait until this many members of a group have partitions, and a little longer while they read their past."""
    client, group = AdminClient(client_config(connection, "bench")), connection.topic(group)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if group not in {each.group_id for each in client.list_consumer_groups().result().valid}:
            # The coordinator of a broker's first group would not answer a request that is too early.
            time.sleep(0.5)
            continue
        group_state = client.describe_consumer_groups([group])[group].result()
        shares = [len(each.assignment.topic_partitions) for each in group_state.members if each.assignment]
        if group_state.state == ConsumerGroupState.STABLE and len(shares) == workers and all(shares):
            time.sleep(5)
            return
        time.sleep(0.5)
    sys.exit(f"{workers} processes did not share the work within a minute")


def takeover() -> None:
    """Kill one of two processors under load; the result is the longest time that an action waited for its alert."""
    with tempfile.TemporaryDirectory() as name, fleet(Path(name)) as connection:
        rules = str(rules_file(Path(name)))
        with (
            stage(connection, Path(name), "processor", rules) as dying,
            stage(connection, Path(name), "processor", rules),
        ):
            time.sleep(5)
            generator, reader = Generator(connection), TopicReader(connection, connection.topic(ALERTS))
            longest, begun = 0.0, time.monotonic()
            while time.monotonic() < begun + 35:
                generator.act(1)
                generator.flush()
                if time.monotonic() > begun + 3 and dying.process.poll() is None:
                    dying.process.kill()
                until = time.monotonic() + 0.1
                while time.monotonic() < until:
                    if (message := reader.poll(0.02)) is not None:
                        alert = decode_alert(message.value() or b"")
                        longest = max(longest, (time.time_ns() - alert.time) / 1e9)
            reader.close()
    figures = {"takeover_seconds": round(longest, 1), "acts": len(generator.actions), "load": os.getloadavg()[0]}
    print(json.dumps(figures))


if __name__ == "__main__":
    # `timeout` sends it; the processes started here then end too.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))
    match sys.argv[1:]:
        case ["speed", recording, *sets]:
            speed(recording, *sets)
        case ["takeover"]:
            takeover()
        case _:
            sys.exit(__doc__)
