"""Measure what Lanner costs other programs: ordinary work with and without it, alternating, under two sets of rules.

    python -m bench.live [FALCO_RULES.yaml] [--rounds N]

A workload's cost is its own processor time, including the kernel's on its behalf, so that other work on the machine
matters less. Each round takes the lowest of three runs and its ratio to that without Lanner; the table shows
the median of the rounds. A run during which another program was attached to system calls is repeated.
"""

import argparse
import ctypes
import json
import os
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.running import HERE, Running, lanner_run, workload
from collector.kernel import bpf_syscall
from collector.kernel_feed import COUNTERS, RING_LOSSES

ROUNDS = 5
RUNS = 3
_PATIENCE_SECONDS = 300
_NR_PIDFD_GETFD = 438
_LOOPS = {
    "open": ("open and close, a file that no rule is about", 100_000),
    "watched": ("open and close, /etc/shadow", 2_000),
    "getppid": ("getppid", 1_000_000),
    "readwrite": ("write and read one byte", 300_000),
    "forkexec": ("fork and exec of /bin/true", 300),
    "connect": ("connect and accept on loopback", 3_000),
}
SEARCH = "find /usr/include /usr/lib/python3 -type f -name '*.[hp]*' -print0 | xargs -0 grep -l needle >/dev/null; true"
COMPILE = f"for i in 1 2 3; do gcc -O1 -o /dev/null {HERE / 'workload.c'}; done"


@dataclass(slots=True)
class _Figures:
    """The counters of one Lanner for one workload, summed over its runs."""

    cpu: float = 0.0
    wall: float = 0.0
    memory: float = 0.0
    made: int = 0
    left_out: int = 0
    lost: int = 0
    ratios: list[float] = field(default_factory=list)


def _commands() -> dict[str, list[str]]:
    loops = {text: [str(workload()), kind, str(count)] for kind, (text, count) in _LOOPS.items()}
    return loops | {"find and grep": ["sh", "-c", SEARCH], "compile": ["sh", "-c", COMPILE]}


def main() -> None:
    """Measure, and print a table for each set of rules."""
    parser = argparse.ArgumentParser(prog="python -m bench.live")
    parser.add_argument("upstream", nargs="?", help="a rule file to measure beside the shipped rules")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    sets: dict[str, list[str]] = {"the shipped rules": []}
    if options.upstream:
        sets[options.upstream] = [options.upstream]
    print(
        f"{platform.node()}, Linux {platform.release()}, {os.cpu_count()} cores; {options.rounds} rounds, "
        f"{time.ctime()}"
    )
    commands = _commands()
    figures = {name: {text: _Figures() for text in commands} for name in sets}
    for _ in range(options.rounds):
        alone = {text: least(command, 0) for text, command in commands.items()}
        for name, rules in sets.items():
            with tempfile.TemporaryDirectory() as folder, lanner_run(Path(folder), rules, alerts=False) as running:
                for text, command in commands.items():
                    with _watched(running, figures[name][text]) as row:
                        row.ratios.append(least(command, 1) / alone[text])
    for name, rows in figures.items():
        _print(name, rows)


def _print(name: str, rows: dict[str, _Figures]) -> None:
    print(f"\nwith {name}: slow-down (least to greatest), Lanner's CPU, events made, left out, lost, memory")
    for text, row in rows.items():
        ratios = f"{statistics.median(row.ratios):.2f} ({min(row.ratios):.2f} to {max(row.ratios):.2f})"
        counts = f"{row.made:>9,} {row.left_out:>11,} {row.lost:>7,}"
        print(f"{text:<46} {ratios} {100 * row.cpu / row.wall:>5.1f} % {counts} {row.memory:>4.0f} MiB")


def least(command: list[str], attached: int) -> float:
    """Return the lowest processor time of several runs, with this number of Lanners on this machine."""
    found: list[float] = []
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while len(found) < RUNS:
        if time.monotonic() > deadline:
            sys.exit("another Lanner watches this machine all the time: stop it first")
        while _attached() != attached and time.monotonic() < deadline:
            time.sleep(0.2)
        taken = processor_seconds(command)
        if _attached() == attached:
            found.append(taken)
    return min(found)


def processor_seconds(command: Sequence[str]) -> float:
    """Run a program to its end, and return its processor time, including the kernel's on its behalf."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def _attached() -> int:
    """Count the programs on this machine that are attached to the exit of system calls, as Lanner's is."""
    done = subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, text=True, check=True)
    return sum(program.get("name") == "on_sys_exit" for program in json.loads(done.stdout or "[]"))


@contextmanager
def _watched(running: Running, row: _Figures) -> Iterator[_Figures]:
    """Add the counters of the enclosed code to a row."""
    with counters(running.process.pid) as read:
        before, cpu, began = read(), running.cpu_seconds(), time.monotonic()
        yield row
        row.wall += time.monotonic() - began
        time.sleep(0.5)
        row.cpu += running.cpu_seconds() - cpu
        made, lost, left_out = (after - past for after, past in zip(read(), before, strict=True))
    row.made, row.lost, row.left_out = row.made + made, row.lost + lost, row.left_out + left_out
    row.memory = max(row.memory, running.memory_mib())


@contextmanager
def counters(pid: int) -> Iterator[Callable[[], tuple[int, int, int]]]:
    """Read the kernel side's counters from the map that the process holds: made, lost for any reason, left out."""
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        facts = dict(row.split(":", 1) for row in entry.read_text().splitlines() if ":" in row)
        if facts.get("map_type", "").strip() == "6" and int(facts["max_entries"]) == len(COUNTERS):
            break
    else:
        sys.exit("no counters found: is this another version of Lanner?")
    process = os.pidfd_open(pid)
    descriptor = ctypes.CDLL(None).syscall(_NR_PIDFD_GETFD, process, int(entry.name), 0)
    cpus = bpf_syscall.possible_cpus()

    def total(*names: str) -> int:
        keys = (struct.pack("<I", COUNTERS.index(name)) for name in names)
        return sum(sum(struct.unpack(f"<{cpus}Q", bpf_syscall.lookup(descriptor, key, 8 * cpus))) for key in keys)

    try:
        yield lambda: (total("events", "lifecycle"), total(*RING_LOSSES), total("filtered"))
    finally:
        os.close(descriptor)
        os.close(process)


if __name__ == "__main__":
    main()
