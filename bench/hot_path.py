"""Measure events per second from the ring to an encoded batch on one core, with the real kernel and real records.

A child process opens one file, or 500 files in turn, or tries to open 500 that don't exist, or connects to itself, or
starts programs, as fast as it can while the ring isn't read. Then the ring is read, and only that is timed, in
processor time of the reading thread. Events of a batch that differ only in their time are decoded once, which the first
case measures. In the second and third case their files differ, but are opened in the same way. In the fourth, each
connection makes two events, which differ from others in a port. In the fifth, each program makes two events, its start
and its end, and three records.

    python -m bench.hot_path [--profile]
"""

import cProfile
import gc
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.running import nanoseconds
from collector.agent import Collector
from collector.bpf.program import RingSizes
from collector.settings import CollectorSettings
from lanner.process import collect_cycles_rarely
from schemas.batch import EventBatch
from schemas.encoding.batch import encode_batch

ROUNDS = 7
_RING = RingSizes(events=64 << 20, lifecycle=16 << 20)


@dataclass(frozen=True, slots=True)
class Case:
    """What the child process does how often, and the event types of each time."""

    kind: str
    count: int
    types: tuple[str, ...] = ("openat",)


CASES = (
    Case("open", 50_000),
    Case("various", 50_000),
    Case("missing", 50_000),
    Case("connect", 3_000, ("connect", "accept")),
    Case("forkexec", 3_000, ("execve", "procexit")),
)


def main(*, profiled: bool = False) -> None:
    """Print a line for each case."""
    collect_cycles_rarely()
    gc.enable()
    for case in CASES:
        _measure(case, profiled=profiled)


def _measure(case: Case, *, profiled: bool) -> None:
    """Print events per second, the median and each round's, and the encoded size per event."""
    expected = case.count * len(case.types)
    sizes: list[int] = []

    def take(batch: EventBatch) -> None:
        sizes.append(len(encode_batch(batch)))

    profile = cProfile.Profile()
    with tempfile.TemporaryDirectory() as folder:
        # Otherwise the kernel side counts repeats instead of sending them, and there is nothing to measure.
        settings = CollectorSettings(rings=_RING, cache=Path(folder), sent_whole=0)
        collector = Collector(case.types, on_batch=take, settings=settings)
        collector.start()
        rates = []
        try:
            for _ in range(ROUNDS):
                collector.poll(0.1)
                before = collector.events
                sizes.clear()
                nanoseconds(case.kind, case.count)
                if profiled:
                    profile.enable()
                began = time.thread_time()
                while collector.events - before < expected:
                    collector.poll(0)
                taken = time.thread_time() - began
                profile.disable()
                rates.append((collector.events - before) / taken)
        finally:
            collector.stop()
    median = statistics.median(rates)
    print(
        f"{case.kind}: {median:,.0f} events a second of processor time, {1e6 / median:.1f} µs and "
        f"{sum(sizes) / expected:.0f} bytes an event; rounds: {' '.join(f'{rate:,.0f}' for rate in rates)}"
    )
    if collector.losses:
        print(f"lost: {dict(collector.losses)}")
    if profiled:
        profile.print_stats("tottime")


if __name__ == "__main__":
    main(profiled="--profile" in sys.argv)
