"""Measure a processor with many hosts, simulated by real batches of one generator.

    python -m bench.fleet_hosts [HOSTS [SECONDS [brief]]]  otherwise 10,000 hosts and 60 seconds of load

Every host sends a heartbeat every 15 s; in turn, hosts also send batches of the recordings of ordinary work, divided
into small ones, under their own names and the present time. One host in a hundred falls silent after its first batch,
one restarts with each of its batches, one has a clock that is an hour ahead; two releases of the collector are mixed.
Hosts follow the pushdown filters of published rules, and send an empty batch at once when they change, as collectors
do. Three real collectors run beside them while rules are published, so it runs as root.

It prints what a host costs a processor in memory and a batch in processor time, the broker's too, and how long
`lanner hosts`, a scrape of the metrics, the console, a published version of the rules and the take-over of a killed
processor take; the last three not if it shall be brief.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import cycle
from pathlib import Path

from confluent_kafka import Message

from bench.batch_cost import SHIPPED, recorded_batches
from bench.fleet import PARTITIONS, stage, wait_until_shared
from bench.running import Running, acknowledged, cpu_seconds, running_broker, started, topics_on
from bus.clients.compacted import CompactedTopicReader
from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.topics import ALERTS, EVENTS, PROCESSORS, PUSHDOWN_FILTERS
from collector.publishing.send_window import halves
from lanner.operations.sizing import MEASURED, processor_cores
from processor.fleet.rules.peers import read_report
from schemas.alert import decode_alert
from schemas.batch import EventBatch, empty_columns
from schemas.encoding.batch import decode_head, encode_batch
from tests.cluster.actions import RULE, Generator, rules_file
from tests.ports import free_ports

COLLECTORS = 3
PAGES = ("/", "/hosts", "/api/hosts", "/api/groups?since=24h")
ANOTHER = """
- rule: Another
  desc: One more.
  condition: evt.type = openat and fd.name = /another
  output: x
  priority: DEBUG
"""
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
        self.versions = ""
        """The rules whose filters the hosts apply."""
        self._filters = CompactedTopicReader(generator.connection, [PUSHDOWN_FILTERS])
        self._known: set[bytes] = set()
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

    def follow(self) -> None:
        """Apply the pushdown filters of the fleet's rules; every host reports at once that it does."""
        while (taken := self._filters.poll(0)) is not None:
            change = self._known.discard if taken[1].value() is None else self._known.add
            change(taken[1].key() or b"")
        versions = "+".join(sorted(key.decode() for key in self._known))
        if self._filters.has_read_all and versions != self.versions:
            self.versions = versions
            for number in range(self.hosts):
                _beat(self, number)

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
            interest_version=self.versions,
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
    for batch in recorded_batches():
        yield from _divided(batch)


def _divided(batch: EventBatch) -> Iterator[EventBatch]:
    parts = halves(batch) if batch.count > LARGEST else None
    if parts is None:
        yield batch
        return
    for part in parts:
        yield from _divided(part)


def main(hosts: int, seconds: int, *, is_brief: bool) -> None:
    """Print a line for each part."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        broker = stack.enter_context(running_broker(folder / "kafka"))
        connection = topics_on(broker, PARTITIONS, "first.")
        rules, port = (SHIPPED, str(rules_file(folder))), free_ports(1)[0]
        options = (f"http.listen=127.0.0.1:{port}",)
        _lanner(connection, "rules", "publish", "--yes", *rules)
        processor = stack.enter_context(stage(connection, folder, "processor", *rules, options=options))
        generator = Generator(connection, hosts=8)
        simulated = SimulatedFleet(hosts, generator)
        time.sleep(5)
        before = processor.memory_mib()
        while not simulated.versions:
            # All hosts report at once that they apply the filter of the published rules.
            simulated.follow()
        _wait_for_all(connection, simulated)
        each = 1024 * (processor.memory_mib() - before) / hosts
        print(f"memory: {before:.0f} MiB without hosts, and {each:.1f} KiB for each", flush=True)
        _load(connection, (processor.process.pid, broker.pid), simulated, seconds)
        computed = (MEASURED.processor_memory_bytes + hosts * MEASURED.host_memory_bytes) / 2**20
        _compare("memory of the processor, MiB", processor.memory_mib(), computed)
        _commands(connection, port)
        if is_brief:
            return
        _console(connection, folder, simulated)
        with stage(connection, folder, "processor", *rules) as other:
            wait_until_shared(connection, 2)
            _published(connection, folder, simulated, rules)
            _takeover(connection, processor, other, simulated)


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
    print(f"load: {batches / taken:.0f} batches and {events / taken:.0f} events per second for {taken:.0f} s")
    computed = (
        processor_cores(batches / taken, events / taken, 0, signed=False),
        batches / taken * MEASURED.broker_batch_seconds,
    )
    for name, pid, before, cores in zip(("processor", "broker"), processes, used, computed, strict=True):
        each = 1e6 * taken / batches
        _compare(f"{name}, us for each batch", (cpu_seconds(pid) - before) / taken * each, cores * each)


def _compare(name: str, measured: float, computed: float) -> None:
    """Print a figure beside the one that `lanner sizing` computes."""
    print(f"{name}: {measured:.0f}; lanner sizing computes {computed:.0f}, {computed / measured:.2f} of it", flush=True)


def _paced(simulated: SimulatedFleet, seconds: float) -> Iterator[None]:
    """Send heartbeats and work at their rates; yield every twentieth of a second."""
    begun, beats, works = time.monotonic(), 0, 0
    while (now := time.monotonic() - begun) < seconds:
        while beats < now * simulated.hosts / HEARTBEAT_SECONDS:
            _beat(simulated, beats % simulated.hosts)
            beats += 1
        while works < now * WORK_PER_SECOND:
            number = works * 7 % simulated.hosts
            # The one that is silent leaves its work to its neighbor.
            number += number % 100 == 1
            simulated.generator.send(simulated.work(number), simulated.name(number))
            works += 1
        simulated.follow()
        yield
        time.sleep(0.05)


def _wait_for_all(connection: Connection, simulated: SimulatedFleet) -> None:
    simulated.generator.flush()
    deadline = time.monotonic() + 120
    while acknowledged(connection, PARTITIONS) < simulated.batches:
        assert time.monotonic() < deadline, "the processor is still behind after two minutes"
        time.sleep(0.5)


def _commands(connection: Connection, port: int) -> None:
    for _ in range(3):
        begun = time.monotonic()
        hosts = _lanner(connection, "hosts").splitlines()
        print(f"lanner hosts: {time.monotonic() - begun:.2f} s for {len(hosts) - 1} hosts")
    begun = time.monotonic()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        size = len(answer.read())
    print(f"metrics: {1000 * (time.monotonic() - begun):.0f} ms, {size:,} bytes", flush=True)


def _lanner(connection: Connection, *arguments: str) -> str:
    command = [sys.executable, "-m", "lanner", *_options(connection), *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def _options(connection: Connection) -> list[str]:
    settings = (f"kafka.bootstrap_servers={connection.bootstrap_servers}", f"kafka.prefix={connection.prefix}")
    return [part for each in settings for part in ("-o", each)]


def _console(connection: Connection, folder: Path, simulated: SimulatedFleet) -> None:
    """Print how long the console takes to know all live hosts, and how long its pages and its API then take."""
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "lanner", *_options(connection), "-o", f"console.state_dir={folder / 'console'}"]
    command += ["console", "--listen", str(port)]
    with started(command, folder / "console.log", "console at", stdout=subprocess.DEVNULL) as running:
        begun = time.monotonic()
        known = ""
        for _ in _paced(simulated, 40):
            hosts = json.loads(_answer(port, "/api/hosts")[1])["total"]
            if hosts >= simulated.hosts - simulated.hosts // 100 and not known:
                known = f"all live hosts known {time.monotonic() - begun:.1f} s after the first look"
            if known and time.monotonic() > begun + 5:
                break
        print(f"console: {known or 'not all live hosts known'}; {running.memory_mib():.0f} MiB")
        for path in PAGES:
            answers = sorted(_answer(port, path) for _ in range(9))
            middle, most = 1000 * answers[4][0], 1000 * answers[-1][0]
            print(f"  {path}: {middle:.0f} ms, at most {most:.0f} ms; {len(answers[0][1]):,} bytes")


def _answer(port: int, path: str) -> tuple[float, bytes]:
    begun = time.monotonic()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        body = answer.read()
    return time.monotonic() - begun, body


@contextmanager
def _followed(reader: TopicReader, take: Callable[[Message], None]) -> Iterator[None]:
    """Take the messages of a topic on a thread as they arrive."""
    is_over = threading.Event()

    def follow() -> None:
        while not is_over.is_set():
            if (message := reader.poll(0.1)) is not None:
                take(message)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        reader.close()


def _published(connection: Connection, folder: Path, simulated: SimulatedFleet, rules: Sequence[str]) -> None:
    """Publish another rule; print when all processors evaluate it, and when all real collectors send what it needs."""
    (folder / "more.yaml").write_text(ANOTHER)
    with ExitStack() as stack:
        names = [f"real-{number}" for number in range(COLLECTORS)]
        for name in names:
            options = (f"host.id={name}", f"kafka.spool_dir={folder / name}")
            stack.enter_context(stage(connection, folder, "collector", *rules, options=options))
        for _ in _paced(simulated, 5):
            pass
        before = simulated.versions
        collected: dict[str, float] = {}
        evaluated: dict[str, float] = {}
        active: dict[str, str] = {}

        def take_batch(message: Message) -> None:
            name = (message.key() or b"").decode()
            if name in names and decode_head(message.value() or b"").interest_version not in ("", before):
                collected.setdefault(name, time.monotonic())

        def take_report(message: Message) -> None:
            report = read_report(message.value() or b"")
            if report is not None and report.active != active.setdefault(report.worker, report.active):
                evaluated.setdefault(report.worker, time.monotonic())

        for topic, take in ((EVENTS, take_batch), (PROCESSORS, take_report)):
            stack.enter_context(_followed(TopicReader(connection, connection.topic(topic)), take))
        for _ in _paced(simulated, 6):
            # Until each processor, which reports every 5 s, has named the version that it evaluates now.
            pass
        begun = time.monotonic()
        command = [sys.executable, "-m", "lanner", *_options(connection), "-q", "rules", "publish", "--yes"]
        publishing = subprocess.Popen([*command, *rules, str(folder / "more.yaml")], stdout=subprocess.DEVNULL)
        ended = 0.0
        for _ in _paced(simulated, 90):
            if publishing.poll() is not None:
                ended = ended or time.monotonic()
            if ended and len(collected) == COLLECTORS and len(evaluated) == len(active):
                break
        print(
            f"published rules, from the start of the command: it ends after {ended - begun:.1f} s, "
            f"{len(collected)} collectors apply the filter after {max(collected.values()) - begun:.1f} s, "
            f"{len(evaluated)} processors evaluate them after {max(evaluated.values()) - begun:.1f} s",
            flush=True,
        )


def _takeover(connection: Connection, dying: Running, other: Running, simulated: SimulatedFleet) -> None:
    """Kill a processor while another one runs; print the longest time that an action waited for its alert."""
    delays: list[float] = []

    def take(message: Message) -> None:
        alert = decode_alert(message.value() or b"")
        if alert.rule == RULE:
            delays.append((time.time_ns() - alert.time) / 1e9)

    with _followed(TopicReader(connection, connection.topic(ALERTS)), take):
        begun, before = time.monotonic(), 0.0
        for step, _ in enumerate(_paced(simulated, 40)):
            if step % 5 == 0:
                simulated.generator.act(1)
            if time.monotonic() > begun + 12 and dying.process.poll() is None:
                before = max(delays, default=0.0)
                dying.process.kill()
    print(
        f"take-over: at most {before:.1f} s from an action to its alert before it, {max(delays):.1f} s in it; "
        f"{len(simulated.generator.actions)} actions; then {other.memory_mib():.0f} MiB"
    )


if __name__ == "__main__":
    given = dict(enumerate(sys.argv))
    main(int(given.get(1, 10_000)), int(given.get(2, 60)), is_brief=given.get(3) == "brief")
