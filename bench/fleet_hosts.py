"""Measure a processor with many hosts, simulated by real batches of one generator.

    python -m bench.fleet_hosts [HOSTS [SECONDS]]          otherwise 10,000 hosts and 60 seconds of load

Every host sends a heartbeat every 15 s; in turn, hosts also send batches of the recordings of ordinary work, divided
into small ones, under their own names and the present time. One host in a hundred falls silent after its first batch,
one restarts with each of its batches, one has a clock that is an hour ahead; two releases of the collector are mixed.

It prints what a host costs a processor in memory and a batch in processor time, the broker's too, and how long
`lanner hosts`, a scrape of the metrics, a published version of the rules and the take-over of a killed processor take.
"""

import subprocess
import sys
import tempfile
import time
import urllib.request
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle
from pathlib import Path

from bench.batch_cost import RECORDINGS, SHIPPED
from bench.fleet import PARTITIONS, fresh, stage
from bench.noise.count import batches_of, recordings_in
from bench.running import Running, cpu_seconds
from bus.clients.readers import TopicReader, committed
from bus.connection import Connection
from bus.topics import ALERTS, EVENTS, PROCESSOR_GROUP
from collector.publishing.batch_halves import halves
from lanner.operations.sizing import processor_cores
from schemas.alert import decode_alert
from schemas.batch import EventBatch, empty_columns
from schemas.codec import encode_batch
from tests.cluster.actions import RULE, Generator, rules_file
from tests.cluster.broker import Broker
from tests.ports import free_ports

HEARTBEAT_SECONDS = 15
WORK_PER_SECOND = 250
"""Batches with events; heartbeats are extra."""
LARGEST = 12
"""Events of such a batch: hosts send several small ones a second, not few large ones."""
SECOND = 10**9


class SimulatedFleet:
    """The simulated hosts, and the batches that they send."""

    def __init__(self, hosts: int, generator: Generator) -> None:
        self.hosts = hosts
        self.generator = generator
        self.sequences = [0] * hosts
        self.starts = [1] * hosts
        self._work = cycle(list(_small_batches()))
        self.batches = 0
        self.events = 0

    def name(self, number: int) -> str:
        """Return the id of a host."""
        return f"host-{number:05}"

    def beat(self, number: int) -> bytes | None:
        """Return the heartbeat of a host; None if it is silent by now."""
        if number % 100 == 1 and self.sequences[number]:
            return None
        return encode_batch(self._named(number, EMPTY))

    def work(self, number: int) -> bytes:
        """Return a batch of events of a host."""
        batch = next(self._work)
        self.events += batch.count
        return encode_batch(self._named(number, batch))

    def _named(self, number: int, batch: EventBatch) -> EventBatch:
        now = time.time_ns()
        if number % 100 == 2:
            self.starts[number] += 1
            self.sequences[number] = 0
        if number % 100 == 3:
            now += 3600 * SECOND
        self.sequences[number] += 1
        self.batches += 1
        times = batch.columns["time"]
        later = now - times[-1] if len(times) else 0
        return replace(
            batch,
            host_id=self.name(number),
            hostname=f"web-{number:05}",
            boot_id=f"boot-{number:05}",
            collector_start=self.starts[number],
            sequence=self.sequences[number],
            created=now,
            sent=now,
            collector_version=("0.1.0", "0.2.0")[number % 2],
            columns={**batch.columns, "time": array("q", [each + later for each in times])},
        )


EMPTY = EventBatch(
    host_id="",
    hostname="",
    boot_id="",
    collector_start=1,
    sequence=1,
    created=1,
    collector_version="0.1.0",
    kernel="6.1.0",
    first_number=1,
    count=0,
    strings=[None],
    processes=[],
    containers=[],
    columns=dict(empty_columns()),
)


def _small_batches() -> Iterator[EventBatch]:
    for path in recordings_in(RECORDINGS):
        for batch in batches_of(path):
            yield from _divided(batch)


def _divided(batch: EventBatch) -> Iterator[EventBatch]:
    parts = halves(batch) if batch.count > LARGEST else None
    if parts is None:
        yield batch
        return
    for part in parts:
        yield from _divided(part)


def main(hosts: int, seconds: int) -> None:
    """Print a line for each part."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        broker = Broker(folder / "kafka")
        broker.start()
        stack.callback(broker.remove)
        connection = fresh(Connection(bootstrap_servers=broker.address), "first.")
        rules, port = (SHIPPED, str(rules_file(folder))), free_ports(1)[0]
        options = (f"http.listen=127.0.0.1:{port}",)
        processor = stack.enter_context(stage(connection, folder, "processor", *rules, options=options))
        generator = Generator(connection, hosts=8)
        simulated = SimulatedFleet(hosts, generator)
        time.sleep(5)
        before = processor.memory_mib()
        for number in range(hosts):
            _beat(simulated, number)
        _wait_for_all(connection, simulated)
        each = 1024 * (processor.memory_mib() - before) / hosts
        print(f"memory: {before:.0f} MiB without hosts, and {each:.1f} KiB for each", flush=True)
        _load(connection, (processor.process.pid, broker.pid), simulated, seconds)
        print(f"memory after it: {processor.memory_mib():.0f} MiB")
        _commands(connection, port)
        _takeover(connection, folder, processor, simulated, rules)


def _beat(simulated: SimulatedFleet, number: int) -> None:
    value = simulated.beat(number)
    if value is not None:
        simulated.generator.send(value, simulated.name(number))


def _load(connection: Connection, processes: tuple[int, int], simulated: SimulatedFleet, seconds: int) -> None:
    """Send for some time; print the rate and the processor time of processor and broker."""
    sent, events = simulated.batches, simulated.events
    used = [cpu_seconds(pid) for pid in processes]
    begun = time.monotonic()
    for _ in _paced(simulated, seconds):
        pass
    _wait_for_all(connection, simulated)
    taken = time.monotonic() - begun
    batches, events = simulated.batches - sent, simulated.events - events
    computed = 100 * processor_cores(batches / taken, events / taken, 0, signed=False)
    print(f"load: {batches / taken:.0f} batches and {events / taken:.0f} events per second for {taken:.0f} s")
    for name, pid, before in zip(("processor", "broker"), processes, used, strict=True):
        cpu = cpu_seconds(pid) - before
        print(f"{name}: {100 * cpu / taken:.1f} % of a core, {1e6 * cpu / batches:.0f} us for each batch", flush=True)
    print(f"processor, as lanner sizing computes it: {computed:.1f} % of a core")


def _paced(simulated: SimulatedFleet, seconds: float) -> Iterator[None]:
    """Send heartbeats and work at their rates; yield every twentieth of a second."""
    begun, beats, works = time.monotonic(), 0, 0
    while (now := time.monotonic() - begun) < seconds:
        while beats < now * simulated.hosts / HEARTBEAT_SECONDS:
            _beat(simulated, beats % simulated.hosts)
            beats += 1
        while works < now * WORK_PER_SECOND:
            number = works * 7 % simulated.hosts
            simulated.generator.send(simulated.work(number), simulated.name(number))
            works += 1
        yield
        time.sleep(0.05)


def _wait_for_all(connection: Connection, simulated: SimulatedFleet) -> None:
    simulated.generator.flush()
    group, topic = connection.topic(PROCESSOR_GROUP), connection.topic(EVENTS)
    deadline = time.monotonic() + 120
    while sum(committed(connection, group, topic, range(PARTITIONS)).values()) < simulated.batches:
        assert time.monotonic() < deadline, "the processor is still behind after two minutes"
        time.sleep(0.5)


def _commands(connection: Connection, port: int) -> None:
    begun = time.monotonic()
    hosts = _lanner(connection, "hosts", "--format", "json").splitlines()
    print(f"lanner hosts: {time.monotonic() - begun:.2f} s for {len(hosts)} hosts")
    begun = time.monotonic()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        size = len(answer.read())
    print(f"metrics: {1000 * (time.monotonic() - begun):.0f} ms, {size:,} bytes", flush=True)


def _lanner(connection: Connection, *arguments: str) -> str:
    settings = (f"kafka.bootstrap_servers={connection.bootstrap_servers}", f"kafka.prefix={connection.prefix}")
    options = [part for each in settings for part in ("-o", each)]
    command = [sys.executable, "-m", "lanner", *options, *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def _takeover(
    connection: Connection, folder: Path, dying: Running, simulated: SimulatedFleet, rules: Sequence[str]
) -> None:
    """Kill the processor while another one runs; print the longest time that an action waited for its alert."""
    with stage(connection, folder, "processor", *rules) as other:
        reader = TopicReader(connection, connection.topic(ALERTS))
        longest, acted, begun = 0.0, 0, time.monotonic()
        for step, _ in enumerate(_paced(simulated, 60)):
            if step % 5 == 0:
                simulated.generator.act(1)
                acted = len(simulated.generator.actions)
            if time.monotonic() > begun + 15 and dying.process.poll() is None:
                dying.process.kill()
            while (message := reader.poll(0)) is not None:
                alert = decode_alert(message.value() or b"")
                if alert.rule == RULE:
                    longest = max(longest, (time.time_ns() - alert.time) / 1e9)
        reader.close()
        memory = other.memory_mib()
    print(f"take-over: at most {longest:.1f} s from an action to its alert, {acted} actions; then {memory:.0f} MiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, int(sys.argv[2]) if len(sys.argv) > 2 else 60)
