"""Measure the time from a system call to its alert on the topic: python -m bench.fleet_latency [RATE…].

As root. A program opens files at a rate, which a collector sends through a broker to a processor. Each of the four
processes is limited to a share of a core of its own; on two cores, they then don't wait for each other.
Two rules match some of the opens, one of them through a window. If a part's share is often used up, the delays are
those of this limit.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench.cpu_shares import limited
from bench.fleet import PARTITIONS, stage
from bench.running import running_broker, topics_on
from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.topics import ALERTS
from schemas.alert import decode_alert

RATES = (1_000, 10_000, 50_000)
SECONDS = 20
WARM_SECONDS = 5
"""Not counted: the first events find caches empty."""
ACTIONS_PER_SECOND = 100
"""Opens that the two rules match, at most one in ten."""
SHARES = {"program": 0.4, "collector": 0.5, "broker": 0.4, "processor": 0.7}
"""Parts of a core, two in total."""
_PROGRAM = """
import os, sys, time
rate, seconds, folder, every = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], int(sys.argv[4])

def part(begin, done):
    # A process of its own, since only a hundred alerts of one process are sent in a minute.
    if pid := os.fork():
        return os.waitpid(pid, 0)
    while time.monotonic() < begin + 0.5:
        while done < (time.monotonic() - start) * rate:
            try: os.close(os.open(f"{folder}/{'act' if done % every == 0 else 'other'}-{done}", os.O_RDONLY))
            except OSError: pass
            done += 1
        time.sleep(0.001)
    os._exit(0)

start = time.monotonic()
while (now := time.monotonic()) < start + seconds:
    part(now, int((now - start) * rate))
"""
_RULES = """
- macro: one_act
  condition: evt.type = openat and fd.name startswith {folder}/act-
  correlation: {{type: event_count, group-by: [fd.name], timespan: 1m, condition: {{gte: 1}}}}
- rule: Other
  desc: Makes the kernel send them.
  condition: evt.type = openat and fd.name startswith {folder}/other- and proc.name = nobody
  output: never
  priority: DEBUG
- rule: Stateless
  desc: An act.
  condition: evt.type = openat and fd.name startswith {folder}/act-
  output: "%fd.name"
  priority: NOTICE
- rule: Stateful
  desc: An act, by a window.
  condition: one_act
  output: "%fd.name"
  priority: NOTICE
"""


def main(rates: tuple[int, ...]) -> None:
    """Print median and p99 for each rate and rule."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rules.yaml").write_text(_RULES.format(folder=folder), encoding="ascii")
        with running_broker(folder / "kafka") as broker:
            for rate in rates:
                _measure(topics_on(broker, PARTITIONS, f"r{rate}."), folder, rate, broker.pid)


def _measure(connection: Connection, folder: Path, rate: int, broker: int) -> None:
    rules = str(folder / "rules.yaml")
    with ExitStack() as stack:
        processor = stack.enter_context(stage(connection, folder, "processor", rules))
        collector = stack.enter_context(stage(connection, folder, "collector", rules))
        time.sleep(3)
        every = max(10, rate // ACTIONS_PER_SECOND)
        arguments = map(str, (rate, WARM_SECONDS + SECONDS, folder, every))
        reader = TopicReader(connection, connection.topic(ALERTS))
        stack.callback(reader.close)
        program = subprocess.Popen([sys.executable, "-I", "-c", _PROGRAM, *arguments])
        stack.callback(program.wait)
        pids = {"collector": collector.process.pid, "processor": processor.process.pid, "broker": broker}
        waits = {
            name: stack.enter_context(limited(pid, SHARES[name]))
            for name, pid in {**pids, "program": program.pid}.items()
        }
        begun = time.time_ns()
        delays = _delays(reader, begun + WARM_SECONDS * 10**9, WARM_SECONDS + SECONDS + 5)
        waited = ", ".join(f"{name} {seconds():.1f}" for name, seconds in waits.items())
    print(f"{rate:,} events/s, seconds in which a part's share was used up: {waited}")
    for rule, found in delays.items():
        found.sort()
        print(
            f"{rate:,} events/s, {rule}: {len(found)} alerts of {SECONDS * rate // every}, "
            f"p50 {found[len(found) // 2]:.0f} ms, p99 {found[int(len(found) * 0.99)]:.0f} ms",
            flush=True,
        )


def _delays(reader: TopicReader, counted_from: int, seconds: float) -> dict[str, list[float]]:
    """Return the delays of alerts by rule, ms.

    Args:
        reader: of the alerts.
        counted_from: the time of the first action that counts, ns since the epoch.
        seconds: how long to read.
    """
    delays: dict[str, list[float]] = {"Stateless": [], "Stateful": []}
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        message = reader.poll(0.1)
        if message is not None:
            alert = decode_alert(message.value() or b"")
            if alert.rule in delays and alert.time >= counted_from:
                # Not the topic's timestamp, which is the producer's: what matters is when it can be read.
                delays[alert.rule].append((time.time_ns() - alert.time) / 1e6)
    return delays


if __name__ == "__main__":
    if os.geteuid():
        sys.exit("bench.fleet_latency starts a collector and limits processes, so it needs root")
    # `timeout` sends it; the processes started here then end too.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))
    main(tuple(map(int, sys.argv[1:])) or RATES)
