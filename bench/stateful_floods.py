"""Measure how much users who flood stateful rules delay the alerts of others.

    python -m bench.stateful_floods [SECONDS [RATE [RULE…]]]

For each shipped rule with a window, three hosts send what the attack in its test does, again and again, at a rate of
events a second each (0: as fast as they can). Half of the time all events are of one process and differ in names and
ports; in the other half each is of another process, and so of another group if the rule counts by process. Ten other
hosts act five times a second; two rules match that, one of them through a window.

Printed for each rule: what one event of the flood cost the processor, the delays of the other hosts' alerts, how far
behind the processor was in the end, and what the topic `correlate` received. Simulated hosts publish their batches
themselves, so that only broker and processor are measured.
"""

import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from bench.fleet import PARTITIONS, fleet, fresh, stage
from bench.running import acknowledged
from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.topics import ALERTS, CORRELATE
from lanner.ruletest.model import StatedEvent
from lanner.ruletest.reading import read_suite
from lanner.ruletest.world import make_batch
from processor.loading import load_rules, read_rule_files
from processor.rule import correlations_of
from schemas.alert import decode_alert
from schemas.batch import EventBatch
from schemas.encoding.batch import encode_batch
from tests.cluster.actions import RULE, RULES, Generator, Host

SECONDS = 20
RATE = 4_000
"""Events a second of each flooding host: what a loop in Python makes."""
FLOODERS, OTHERS = 3, 10
_SIZE = 500
_DIFFERENT = 30
"""Batches of a host that have names of their own; they are sent again and again."""
_WINDOW = """
- macro: marked_window
  condition: evt.type = openat and fd.name startswith /marked/
  correlation: {type: event_count, group-by: [fd.name], timespan: 1m, condition: {gte: 1}}
- rule: Marked window
  desc: The same through a window.
  condition: marked_window
  output: "%fd.name"
  priority: NOTICE
"""


def main(seconds: int, rate: int, chosen: list[str]) -> None:
    """Print a line for each rule."""
    with tempfile.TemporaryDirectory() as name, fleet(Path(name)) as connection:
        folder = Path(name)
        shipped = Path("rules/lanner_rules.yaml").read_text(encoding="utf-8")
        (folder / "rules.yaml").write_text(
            shipped.replace("  enabled: false\n", "") + RULES + _WINDOW, encoding="utf-8"
        )
        floods = dict(_floods(folder / "rules.yaml"))
        for number, rule in enumerate(chosen or floods):
            _measure(fresh(connection, f"f{number}."), folder, (rule, floods[rule]), seconds, rate)


def _floods(rules: Path) -> Iterator[tuple[str, EventBatch]]:
    """Yield each rule that has a window, with the batch of the attack in its test."""
    loaded = load_rules(read_rule_files([str(rules)]))
    text = Path("rules/lanner_rules_test.yaml").read_text(encoding="utf-8")
    suite, _ = read_suite("rules/lanner_rules_test.yaml", text)
    for macro in correlations_of(loaded.macros):
        rule = next(each.name for each in loaded.rules if macro in str(each.condition) and each.source == "syscall")
        for case in suite.cases:
            if case.name.startswith(f"{rule}: an attack"):
                yield rule, make_batch([each for each in case.events if isinstance(each, StatedEvent)])
                break


def _flood(attack: EventBatch, host: str, sequence: int, *, is_many: bool) -> EventBatch:
    """Return a batch of a flood.

    Args:
        attack: whose events are repeated.
        host: whose batch it is.
        sequence: its number, by which its names and ports differ from those of others.
        is_many: whether each event is of another process.
    """
    rows = [number % attack.count for number in range(_SIZE)]
    columns = {name: column[:0] for name, column in attack.columns.items()}
    strings = list(attack.strings)
    processes = list(attack.processes)
    columns["arg_start"] = array(attack.columns["arg_start"].typecode, [0])
    for number, row in enumerate(rows):
        start, end = attack.columns["arg_start"][row : row + 2]
        for name in ("arg_name", "arg_value", "arg_raw"):
            columns[name].extend(attack.columns[name][start:end])
        columns["arg_start"].append(len(columns["arg_name"]))
        for name, column in attack.columns.items():
            if not name.startswith("arg_"):
                columns[name].append(column[row])
        for name in ("fd_name", "path_name"):
            if columns[name][number]:
                strings.append(f"{strings[columns[name][number]]}-{sequence}-{number}")
                columns[name][number] = len(strings) - 1
        if columns["remote_port"][number] > 0:
            columns["remote_port"][number] = 1 + (sequence * _SIZE + number) % 65_000
        if is_many:
            process = processes[columns["process"][number]]
            pid = 100_000 + (sequence * _SIZE + number) % 3_000_000
            processes.append(replace(process, pid=pid, sid=pid, ppid=pid))
            columns["process"][number] = len(processes) - 1
    return replace(
        attack,
        host_id=host,
        hostname=host,
        boot_id="boot",
        collector_start=1,
        sequence=sequence,
        count=_SIZE,
        strings=strings,
        processes=processes,
        columns=columns,
    )


def _dated(batch: EventBatch, sequence: int) -> bytes:
    now = time.time_ns()
    columns = batch.columns | {"time": array("q", range(now, now + 1000 * _SIZE, 1000))}
    return encode_batch(replace(batch, sequence=sequence, created=now, columns=columns))


class _Load:
    """The hosts, each with a thread of its own."""

    def __init__(self, connection: Connection, attack: EventBatch, seconds: int, rate: int) -> None:
        self.events = self.messages = self.acts = 0
        self._connection, self._rate = connection, rate
        self._floods = {
            host: [
                [_flood(attack, host, number, is_many=is_many) for number in range(_DIFFERENT)]
                for is_many in (False, True)
            ]
            for host in (f"flood-{number}" for number in range(FLOODERS))
        }
        self.ends = time.monotonic() + seconds
        self._half = self.ends - seconds / 2
        threads = [threading.Thread(target=self._flood, args=(host,)) for host in self._floods]
        self._threads = [*threads, threading.Thread(target=self._act)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _flood(self, host: str) -> None:
        generator = Generator(self._connection, hosts=0)
        began, sequence = time.monotonic(), 0
        one, many = self._floods[host]
        while (now := time.monotonic()) < self.ends:
            if self._rate and (wait := began + sequence * _SIZE / self._rate - now) > 0:
                time.sleep(wait)
            sequence += 1
            given = many if now > self._half else one
            generator.send(_dated(given[sequence % len(given)], sequence), host)
            self.events += _SIZE
            self.messages += 1
        generator.flush()

    def _act(self) -> None:
        generator = Generator(self._connection, hosts=0)
        hosts = [Host(f"honest-{number}", others=0) for number in range(OTHERS)]
        while time.monotonic() < self.ends:
            for host in hosts:
                generator.publish(host.batch(f"{host.name}-{host.sequence}"))
                self.acts += 1
                self.messages += 1
                time.sleep(0.2 / OTHERS)
        generator.flush()


def _measure(connection: Connection, folder: Path, flood: tuple[str, EventBatch], seconds: int, rate: int) -> None:
    rule, attack = flood
    delays: dict[str, list[float]] = {RULE: [], "Marked window": []}
    found = 0
    with ExitStack() as stack:
        processor = stack.enter_context(stage(connection, folder, "processor", str(folder / "rules.yaml")))
        reader = TopicReader(connection, connection.topic(ALERTS))
        stack.callback(reader.close)
        cpu = processor.cpu_seconds()
        load = _Load(connection, attack, seconds, rate)
        ends = load.ends
        while time.monotonic() < ends + 2:
            if (message := reader.poll(0.1)) is not None:
                alert = decode_alert(message.value() or b"")
                if alert.rule in delays:
                    delays[alert.rule].append((time.time_ns() - alert.time) / 1e6)
                found += alert.rule == rule
        load.join()
        behind = load.messages - acknowledged(connection, PARTITIONS)
        cpu = processor.cpu_seconds() - cpu
    messages, size = _content(connection)
    counts = " and ".join(f"{len(each)}" for each in delays.values())
    shown = "; ".join(f"{_at(each, 0.5):.0f} and {_at(each, 0.99):.0f}" for each in delays.values())
    print(
        f"{rule}: {load.events / seconds:,.0f} events/s, {found} alerts; {1e6 * cpu / load.events:.0f} us an event.\n"
        f"  others: {counts} alerts of {load.acts}, p50 and p99 {shown} ms; after 2 s {behind} batches behind\n"
        f"  correlate: {messages / seconds:.0f} messages/s, {size / seconds / 1000:.0f} kB/s",
        flush=True,
    )


def _at(delays: list[float], part: float) -> float:
    return sorted(delays)[int(part * len(delays))] if delays else float("nan")


def _content(connection: Connection) -> tuple[int, int]:
    """Return the number of messages of `correlate` that hold events, and their bytes."""
    reader, messages, size = TopicReader(connection, connection.topic(CORRELATE), whole=True), 0, 0
    while not reader.has_read_all:
        if (message := reader.poll(0.2)) is not None and message.key() != b"tick":
            messages += 1
            size += len(message.value() or b"")
    reader.close()
    return messages, size


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(int(arguments[0]) if arguments else SECONDS, int(arguments[1]) if len(arguments) > 1 else RATE, arguments[2:])
