"""Measure what the recording of `lanner run` costs: with and without it, alternating: `python -m bench recording`.

The workloads are program starts, which are recorded although few rules need them, opens that no rule matches, and opens
that the kernel sends for a rule. All times are processor time, the kernel's included, so that other work on the machine
matters less.
"""

import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.running import lanner_run, nanoseconds

ROUNDS = 5
OFF, ON = "keep.size_mib=0", "keep.size_mib=64"
_RULE = """
- rule: Never
  desc: Makes the kernel send what this measurement does, and matches none of it.
  condition: evt.type in (open, openat) and fd.name startswith /tmp/lanner-bench- and proc.name = nobody-is-called-so
  output: never
  priority: DEBUG
"""
_DRAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Workload:
    """What is repeated how often in one go, and how often that."""

    kind: str
    count: int
    bursts: int = 1
    rule: str = ""
    """Instead of the shipped rules."""
    settings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Cost:
    """What one operation of a workload costs."""

    ns: float
    lanner_us: float
    memory_mib: float
    size: float
    """Bytes recorded."""


WORKLOADS = (
    Workload("forkexec", 3_000),
    Workload("open", 200_000),
    # Less than the ring holds, so that none is lost; and without what the rest of the machine starts.
    Workload("various", 10_000, 10, _RULE, ("collector.count_repeats=false", "collector.always_sent=[]")),
)


def main() -> None:
    """Measure, and print one row per workload: medians, and the ratio of each pair."""
    print(
        "workload        off        on   ratio (min to max)   Lanner's CPU for each   ratio     RSS   recorded for each"
    )
    for workload in WORKLOADS:
        pairs = [(_round(workload, OFF), _round(workload, ON)) for _ in range(ROUNDS)]
        off, on = (_median(column) for column in zip(*pairs, strict=True))
        ratios = [after.ns / before.ns for before, after in pairs]
        lanner = statistics.median(after.lanner_us / before.lanner_us for before, after in pairs)
        print(
            f"{workload.kind:<9} {off.ns:>7.0f}ns {on.ns:>7.0f}ns    {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})   {off.lanner_us:>8.1f} -> {on.lanner_us:>5.1f} us    "
            f"{lanner:>5.2f}   {off.memory_mib:.0f} -> {on.memory_mib:.0f} MiB   {on.size:.0f} bytes",
            flush=True,
        )


def _median(costs: Sequence[Cost]) -> Cost:
    rows = [(each.ns, each.lanner_us, each.memory_mib, each.size) for each in costs]
    return Cost(*map(statistics.median, zip(*rows, strict=True)))


def _round(workload: Workload, setting: str) -> Cost:
    operations = workload.count * workload.bursts
    with tempfile.TemporaryDirectory() as name:
        rules = Path(name) / "rules.yaml"
        rules.write_text(workload.rule, encoding="ascii")
        options = [setting, *workload.settings]
        with lanner_run(Path(name), [str(rules)] if workload.rule else (), settings=options) as running:
            before, own = running.cpu_seconds(), _children_seconds()
            for _ in range(workload.bursts):
                nanoseconds(workload.kind, workload.count)
                time.sleep(_DRAIN_SECONDS)
            taken = _children_seconds() - own
            lanner = running.cpu_seconds() - before
            memory = running.memory_mib()
            size = sum(path.stat().st_size for path in Path(name).glob("kept/*.avro"))
    return Cost(1e9 * taken / operations, 1e6 * lanner / operations, memory, size / operations)


def _children_seconds() -> float:
    """Return the processor time of this process's children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
