"""Measure Lanner's processor time for program starts and connections: `python -m bench.starts`.

3,000 times fork and exec of /bin/true, and 10,000 connections on loopback with their accepts, beside `lanner run` with
the shipped rules, and beside `lanner collector` with a broker: Lanner's own time, without what it uses at rest, and its
RSS afterwards. Lower figures count, because other work on the machine adds starts and evicts caches.
"""

import tempfile
import time
from pathlib import Path

from bench.day import collector
from bench.running import cpu_seconds, lanner_run, nanoseconds, rss_mib, running_broker, topics_on

CASES = (("forkexec", "program start", 3_000), ("connect", "connection", 10_000))
ROUNDS = 3
_REST_SECONDS = 2.0
_DRAIN_SECONDS = 0.7


def main() -> None:
    """Print a line for each command."""
    with tempfile.TemporaryDirectory() as name, lanner_run(Path(name)) as running:
        _measure("lanner run", running.process.pid)
    with (
        tempfile.TemporaryDirectory() as name,
        running_broker(Path(name) / "kafka") as broker,
        collector(topics_on(broker, 1), Path(name)) as pid,
    ):
        _measure("lanner collector", pid)


def _measure(command: str, pid: int) -> None:
    time.sleep(_REST_SECONDS)
    before = cpu_seconds(pid)
    time.sleep(_REST_SECONDS)
    at_rest = (cpu_seconds(pid) - before) / _REST_SECONDS
    for kind, name, count in CASES:
        taken = []
        for _ in range(ROUNDS):
            before, began = cpu_seconds(pid), time.monotonic()
            nanoseconds(kind, count)
            time.sleep(_DRAIN_SECONDS)
            taken.append(cpu_seconds(pid) - before - at_rest * (time.monotonic() - began))
        rounds = " ".join(f"{seconds:.2f}" for seconds in taken)
        print(
            f"{command}: {1e6 * min(taken) / count:.1f} µs a {name}, {count:,} of them in {rounds} s, "
            f"{rss_mib(pid):.0f} MiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
