"""Measure what the recording of `lanner run` costs: with and without it, alternating: `python -m bench recording`.

The workloads are program starts, which are recorded although few rules need them, and opens that no rule matches.
All times are processor time, the kernel's included, so that other work on the machine matters less.
"""

import resource
import statistics
import tempfile
from pathlib import Path

from bench.running import lanner_run, nanoseconds

KINDS = {"forkexec": 3_000, "open": 200_000}
ROUNDS = 5
OFF, ON = "keep.size_mib=0", "keep.size_mib=64"


def main() -> None:
    """Measure, and print one row per workload: medians, and the ratio of each pair."""
    print(f"{'workload':<10} {'off':>10} {'on':>10} {'ratio':>6} {'min':>5} {'max':>5}   Lanner's CPU   RSS   recorded")
    for kind, count in KINDS.items():
        pairs = [(_round(kind, count, OFF), _round(kind, count, ON)) for _ in range(ROUNDS)]
        ratios = [on[0] / off[0] for off, on in pairs]
        cpu = [statistics.median(each[1] for each in column) for column in zip(*pairs, strict=True)]
        memory = [statistics.median(each[2] for each in column) for column in zip(*pairs, strict=True)]
        size = statistics.median(on[3] for _, on in pairs)
        off_ns, on_ns = (statistics.median(each[0] for each in column) for column in zip(*pairs, strict=True))
        print(
            f"{kind:<10} {off_ns:>8.0f}ns {on_ns:>8.0f}ns {statistics.median(ratios):>6.2f} {min(ratios):>5.2f} "
            f"{max(ratios):>5.2f}   {1e6 * cpu[0] / count:.1f} -> {1e6 * cpu[1] / count:.1f} us per operation   "
            f"{memory[0]:.0f} -> {memory[1]:.0f} MiB   {size / count:.0f} bytes per operation",
            flush=True,
        )


def _round(kind: str, count: int, setting: str) -> tuple[float, float, float, int]:
    """Return ns per operation of the workload, Lanner's processor time in s, its RSS in MiB, and the bytes recorded."""
    with tempfile.TemporaryDirectory() as name, lanner_run(Path(name), settings=[setting]) as running:
        before, own = running.cpu_seconds(), _children_seconds()
        nanoseconds(kind, count)
        taken = 1e9 * (_children_seconds() - own) / count
        cpu, memory = running.cpu_seconds() - before, running.memory_mib()
        return taken, cpu, memory, sum(path.stat().st_size for path in Path(name).glob("kept/*.avro"))


def _children_seconds() -> float:
    """Return the processor time of this process's children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
