"""Measure how the processors' rate grows with their number, each limited to a share of a core: python -m bench.scaling.

As root. Each processor is put in a control group of its own once it is ready, so that a machine with two cores can run
eight of them: their sum, the broker and the generator leave some of it idle. The generator sends more than they
can evaluate; the rate is that of the committed offsets, over half a minute.

Stateless: small batches of ordinary work, and the built-in rules. Stateful: each batch has an event that a window
counts.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from pathlib import Path

from bench.batch_cost import SHIPPED
from bench.fleet import stage, wait_until_shared
from bench.fleet_hosts import SimulatedFleet
from bus.administration import create_missing
from bus.clients.readers import committed
from bus.connection import Connection
from bus.topics import DAY_MS, EVENTS, PROCESSOR_GROUP, plan
from schemas.codec import encode_batch
from tests.cluster.actions import Generator, Host, rules_file
from tests.cluster.broker import Broker

PARTITIONS = 32
HOSTS = 640
"""Enough that each partition has about as many."""
SHARE = 0.15
"""The part of a core for each processor."""
PERIOD_US = 20_000
WORKERS = (1, 2, 4, 8)
SECONDS = 30
WARM_SECONDS = 10
AHEAD = 2_000
"""Batches that wait in the topic at any time."""
STATEFUL = """
- macro: many_actions
  condition: evt.type = openat and fd.name startswith /marked/
  correlation: {type: event_count, group-by: [evt.hostname], timespan: 1m, condition: {gte: 10000}}
- rule: Many actions
  desc: Many actions of one host.
  condition: many_actions
  output: "%correlation.count actions"
  priority: NOTICE
"""
_CPU = Path("/sys/fs/cgroup/cpu")


def main() -> None:
    """Print the rate for each number of processors, and its ratio to the linear one."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        broker = Broker(folder / "kafka")
        broker.start()
        stack.callback(broker.remove)
        rules = {"stateless": SHIPPED, "stateful": str(rules_file(folder, STATEFUL))}
        for kind, file in rules.items():
            one = 0.0
            for workers in WORKERS:
                prefix = f"{kind}{workers}."
                connection = Connection(bootstrap_servers=broker.address, prefix=prefix)
                create_missing(connection, plan(prefix, PARTITIONS, 1, DAY_MS))
                rate = _rate(connection, folder, file, workers, _messages(kind, connection))
                one = one or rate
                ratio = rate / (one * workers)
                print(f"{kind}, {workers} processors: {rate:,.0f} batches a second, {ratio:.2f} of linear", flush=True)


def _messages(kind: str, connection: Connection) -> Sequence[tuple[str, bytes]]:
    """Return batches of all hosts, encoded beforehand, so that the generator uses little processor time."""
    if kind == "stateless":
        fleet = SimulatedFleet(HOSTS, Generator(connection, hosts=0))
        return [(fleet.name(number), fleet.work(number)) for number in range(HOSTS)]
    hosts = [Host(f"host-{number:05}") for number in range(HOSTS)]
    return [(host.name, encode_batch(host.batch("mark"))) for host in hosts]


def _rate(
    connection: Connection, folder: Path, rules: str, workers: int, messages: Sequence[tuple[str, bytes]]
) -> float:
    """Return batches per second."""
    with ExitStack() as stack:
        running = [stack.enter_context(stage(connection, folder, "processor", rules)) for _ in range(workers)]
        wait_until_shared(connection, workers)
        for each in running:
            stack.enter_context(limited(each.process.pid, SHARE))
        generator, waiting = Generator(connection, hosts=0), cycle(messages)
        sent = 0

        def send() -> int:
            """Keep the topic ahead; return how many batches were evaluated."""
            nonlocal sent
            done = _done(connection)
            for name, value in islice(waiting, max(0, done + AHEAD * workers - sent)):
                generator.send(value, name)
                sent += 1
            time.sleep(0.2)
            return done

        first, begun = _run(send, WARM_SECONDS)
        last, ended = _run(send, SECONDS)
        generator.flush()
        return (last - first) / (ended - begun)


def _run(send: Callable[[], int], seconds: float) -> tuple[int, float]:
    """Send for some time; return how many batches were evaluated by then, and when."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        send()
    return send(), time.monotonic()


def _done(connection: Connection) -> int:
    offsets = committed(connection, connection.topic(PROCESSOR_GROUP), connection.topic(EVENTS), range(PARTITIONS))
    return sum(offsets.values())


@contextmanager
def limited(pid: int, share: float) -> Iterator[None]:
    """Limit a process to a share of a core."""
    name = f"lanner-bench-{pid}"
    if _CPU.exists():
        group = _CPU / name
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(int(share * PERIOD_US)))
    else:
        group = Path("/sys/fs/cgroup") / name
        group.mkdir()
        (group / "cpu.max").write_text(f"{int(share * PERIOD_US)} {PERIOD_US}")
    (group / "cgroup.procs").write_text(str(pid))
    try:
        yield
    finally:
        # A group can only be removed once it has no process.
        (group.parent / "cgroup.procs").write_text(str(pid))
        group.rmdir()


if __name__ == "__main__":
    if os.geteuid():
        sys.exit("bench.scaling limits processes by control groups, so it needs root")
    main()
