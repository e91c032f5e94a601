"""Measure Lanner's processor time for program starts and connections: `python -m bench.starts [CHECKOUT]`.

3,000 times fork and exec of /bin/true, and 10,000 connections on loopback with their accepts, beside `lanner run` with
the shipped rules, and beside `lanner collector` with a broker: Lanner's own time, without what it uses at rest, and its
RSS afterwards. Lower figures count, because other work on the machine adds starts and evicts caches. With another
checkout, its `lanner run` works beside this one's on the same events, which compares both on a busy machine.
"""

import argparse
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.day import collector
from bench.running import (
    HERE,
    cpu_seconds,
    lanner_command,
    lanner_run,
    nanoseconds,
    rss_mib,
    running_broker,
    started,
    topics_on,
)

CASES = (("forkexec", "program start", 3_000), ("connect", "connection", 10_000))
ROUNDS = 3
_REST_SECONDS = 2.0
_DRAIN_SECONDS = 0.7


def main() -> None:
    """Print a line for each command, or for each kind of work if there is another version."""
    parser = argparse.ArgumentParser(prog="python -m bench.starts")
    parser.add_argument("other", nargs="?", type=Path, metavar="CHECKOUT", help="another version")
    chosen = parser.parse_args()
    if chosen.other is not None:
        _compare([chosen.other, HERE.parent])
        return
    with tempfile.TemporaryDirectory() as name, lanner_run(Path(name)) as running:
        _measure("lanner run", running.process.pid)
    with (
        tempfile.TemporaryDirectory() as name,
        running_broker(Path(name) / "kafka") as broker,
        collector(topics_on(broker, 1), Path(name)) as pid,
    ):
        _measure("lanner collector", pid)


def _compare(checkouts: Sequence[Path]) -> None:
    """Run both versions beside each other, so that other work on the machine is the same for both."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        pids = []
        for number, checkout in enumerate(checkouts):
            folder = Path(name, str(number))
            folder.mkdir()
            command = lanner_command(folder, settings=(f"memory.filename={folder}/state",))
            options = {"cwd": checkout, "stdout": subprocess.DEVNULL}
            pids.append(stack.enter_context(started(command, folder / "messages", "watching", **options)).process.pid)
        time.sleep(_REST_SECONDS)
        taken: dict[str, list[list[float]]] = {kind: [] for kind, _, _ in CASES}
        for _ in range(ROUNDS):
            for kind, _, count in CASES:
                before = [cpu_seconds(pid) for pid in pids]
                nanoseconds(kind, count)
                time.sleep(_DRAIN_SECONDS)
                taken[kind].append([cpu_seconds(pid) - past for pid, past in zip(pids, before, strict=True)])
    for kind, text, count in CASES:
        former, own = ([1e6 * seconds / count for seconds in each] for each in zip(*taken[kind], strict=True))
        ratios = [after / before for before, after in zip(former, own, strict=True)]
        print(
            f"{sum(own) / ROUNDS:.1f} µs a {text}, {sum(former) / ROUNDS:.1f} by the other version, ratio "
            f"{sum(own) / sum(former):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); with what others did then"
        )


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
