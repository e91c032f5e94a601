"""Measure how much slower programs run while Lanner runs with the shipped rules.

Runs alternate with and without Lanner, because the speed of virtual machines drifts; quote the ratios.
"""

import statistics
import tempfile
import time
from pathlib import Path

from bench.running import lanner_run, nanoseconds

KINDS = {"open": 400_000, "getppid": 4_000_000, "readwrite": 1_000_000, "forkexec": 1_500}
ROUNDS = 5


def main() -> None:
    """Measure, and print one row per workload."""
    print(f"{'workload':<10} {'without':>10} {'with':>10} {'ratio':>6} {'min':>5} {'max':>5}   Lanner's CPU   lost")
    with tempfile.TemporaryDirectory() as folder:
        for kind, count in KINDS.items():
            alone: list[float] = []
            watched: list[float] = []
            shares: list[float] = []
            lost = ""
            for _ in range(ROUNDS):
                alone.append(nanoseconds(kind, count))
                with lanner_run(Path(folder)) as running:
                    cpu, begin = running.cpu_seconds(), time.monotonic()
                    watched.append(nanoseconds(kind, count))
                    shares.append((running.cpu_seconds() - cpu) / (time.monotonic() - begin))
                    memory = running.memory_mib()
                lost = next((row for row in running.messages().splitlines() if "lost" in row.lower()), "")
            ratios = [b / a for a, b in zip(alone, watched, strict=True)]
            print(
                f"{kind:<10} {statistics.median(alone):>8.0f}ns {statistics.median(watched):>8.0f}ns "
                f"{statistics.median(ratios):>6.2f} {min(ratios):>5.2f} {max(ratios):>5.2f}   "
                f"{100 * statistics.median(shares):>5.1f} % of a core, {memory:.0f} MiB   {lost}",
                flush=True,
            )


if __name__ == "__main__":
    main()
