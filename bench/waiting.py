"""Measure a notifier's RSS while a million alerts wait in Kafka, and what a dead sink costs a working one.

It starts its own broker. The dead sink is an address where nothing listens, and the working one is a file.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.running import Running, running_broker, started, topics_on
from bus.clients.producers import make_producer, producer_config
from bus.connection import Connection
from bus.topics import ALERTS
from schemas.alert import Alert, alert_id, encode_alert
from tests.cluster.broker import Broker

WAITING = 1_000_000
ROUNDS = 3
LIVE = 10_000
"""Alerts for the file, per round."""
HOLD_SECONDS = 20.0
PARTITIONS = 8


def main() -> None:
    """Print memory, then the ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_broker(folder / "kafka") as broker:
            _memory(broker, folder)
            _beside(broker, folder)


def _memory(broker: Broker, folder: Path) -> None:
    connection = topics_on(broker, PARTITIONS, "idle.")
    with _notifier(connection, folder, "webhook") as running:
        time.sleep(5)
        idle = running.memory_mib()
    connection = topics_on(broker, PARTITIONS, "many.")
    size = _produce(connection, WAITING)
    with _notifier(connection, folder, "webhook") as running:
        until = time.monotonic() + HOLD_SECONDS
        most = 0.0
        while time.monotonic() < until:
            most = max(most, running.memory_mib())
            time.sleep(0.2)
    print(f"{WAITING:,} alerts of {size:,} bytes wait for a dead webhook: {most:.0f} MiB; none waits: {idle:.0f} MiB")


def _beside(broker: Broker, folder: Path) -> None:
    seconds: dict[str, list[float]] = {"file": [], "webhook file": []}
    for turn in range(ROUNDS):
        for sinks, taken in seconds.items():
            connection = topics_on(broker, PARTITIONS, f"b{turn}{len(sinks)}.")
            _produce(connection, LIVE)
            path = folder / f"alerts-{turn}-{len(sinks)}"
            with _notifier(connection, folder, *sinks.split(), file=path) as running:
                while not path.exists() or path.stat().st_size == 0:
                    time.sleep(0.002)
                began = time.perf_counter()
                while path.read_bytes().count(b"\n") < LIVE:
                    assert running.process.poll() is None, running.messages()
                    time.sleep(0.01)
                taken.append(time.perf_counter() - began)
    alone, beside = (statistics.median(taken) for taken in seconds.values())
    print(
        f"file alone: {LIVE / alone:,.0f} alerts/s; beside a dead webhook: {LIVE / beside:,.0f}; {beside / alone:.2f}"
    )


def _produce(connection: Connection, count: int) -> int:
    """Write alerts to their topic; each has about a kilobyte, like one with a whole event."""
    producer = make_producer(producer_config(connection, "bench", queue_bytes=64 << 20))
    event = {f"proc.field{number}": "0123456789abcdef" for number in range(30)}
    made = Alert("", 0, "A rule", "Error", "A file was read | " + "x" * 100, {}, event=event, hostname="web-3")
    first = alert_id(0, "first")
    # Encoded once: only the id differs, and it always has the same length.
    before, after = encode_alert(replace(made, id=first)).split(first.encode())
    for number in range(count):
        data = before + alert_id(0, number).encode() + after
        while True:
            try:
                producer.produce(connection.topic(ALERTS), data, str(number % 1000).encode())
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(120) == 0
    return len(before) + len(first) + len(after)


@contextmanager
def _notifier(connection: Connection, folder: Path, *sinks: str, file: Path | None = None) -> Iterator[Running]:
    """Run `lanner notifier` with its webhook at an address where nothing listens."""
    state = folder / f"state-{connection.prefix}{len(sinks)}"
    flags: Sequence[str] = (
        f"kafka.bootstrap_servers={connection.bootstrap_servers}",
        f"kafka.prefix={connection.prefix}",
        f"notifier.state_dir={state}",
        "webhook_output.url=http://127.0.0.1:9/",
        f"file_output.filename={file or folder / 'unused'}",
    )
    command = [sys.executable, "-m", "lanner", "notifier", *sinks]
    command += [part for flag in flags for part in ("-o", flag)]
    with started(command, folder / "messages", "", stdout=subprocess.DEVNULL) as running:
        yield running
