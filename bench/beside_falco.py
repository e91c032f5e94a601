"""Measure Lanner and Falco in one run: `python -m bench.beside_falco FALCO FALCO.yaml RULES.yaml [--rounds N]`.

Each workload runs alone, beside Falco and beside `lanner run`, alternating, both with the same rules, or Lanner with
those that are built in (`--built-in`). Its processor time counts, including the kernel's on its behalf. The table shows
ratios of the lowest times of all rounds, since other work on the machine only adds time, and each round's ratio in
parentheses. A detector's own processor time is that of all its processes, the lowest of the rounds, without what it
uses at rest; its memory is that of all its processes after the workloads. In further starts, the time from the start to
the first action that is reported, and from actions of new processes to their lines (bench.latency).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.latency import Delays, acting
from bench.live import COMPILE, SEARCH, counters, processor_seconds
from bench.running import HERE, cpu_seconds, lanner_command, lanner_run, pss_mib, rss_mib, workload

ROUNDS = 12
STARTS = 3_000
_SHORT_RUNS, _OPERATIONS = "60", "2000"
_START_SECONDS = 60
_SETTLE_SECONDS, _REST_SECONDS = 3.0, 15.0
_LATENCY_ROUNDS, _ACTIONS = 3, 200
_DRAIN_SECONDS = 1.2
_LEAST_ADDED = 0.02


@dataclass(slots=True)
class _Beside:
    """What one detector did to one workload, and what it used while that ran, a value for each round."""

    times: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    lost: int = 0


@dataclass(frozen=True, slots=True)
class _Detector:
    """A running detector: its process, and the number of events that it has lost."""

    pid: int
    lost: Callable[[], int]


def main() -> None:
    """Print a table of both."""
    parser = argparse.ArgumentParser(prog="python -m bench.beside_falco")
    parser.add_argument("falco", help="the program")
    parser.add_argument("configuration", help="its configuration, which loads the container plugin")
    parser.add_argument("rules", help="the rules of both")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--built-in", action="store_true", help="run Lanner with its built-in rules")
    parser.add_argument("-o", dest="settings", action="append", default=[], help="a setting for Lanner")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        works = _works(folder)
        alone: dict[str, list[float]] = {text: [] for text in works}
        figures = {each: {text: _Beside() for text in works} for each in ("Falco", "Lanner")}
        memory = dict.fromkeys(figures, (0.0, 0.0))
        rules = [] if options.built_in else [options.rules]
        rest: dict[str, list[float]] = {each: [] for each in figures}
        for turn in range(options.rounds):
            for text, work in works.items():
                alone[text].append(work())
            starts = {
                "Falco": lambda: _falco(options.falco, options.configuration, options.rules, folder),
                "Lanner": lambda: _lanner(folder, rules, options.settings),
            }
            for each in sorted(starts, reverse=bool(turn % 2)):
                with starts[each]() as detector:
                    time.sleep(_SETTLE_SECONDS)
                    before = cpu_seconds(detector.pid)
                    time.sleep(_REST_SECONDS)
                    rest[each].append((cpu_seconds(detector.pid) - before) / _REST_SECONDS)
                    for text, work in works.items():
                        _measure(detector, work, figures[each][text], rest[each][-1])
                    memory[each] = max(memory[each], (rss_mib(detector.pid), pss_mib(detector.pid)))
        commands = {
            "Falco": _falco_command(options.falco, options.configuration, options.rules, "stdout_output.enabled=true"),
            "Lanner": lanner_command(folder, rules, options.settings),
        }
        delays: dict[str, list[tuple[float, Delays]]] = {each: [] for each in commands}
        for _ in range(_LATENCY_ROUNDS):
            for each, command in commands.items():
                with acting(command, folder / "messages") as (_, actions):
                    delays[each].append((actions.first(), actions.delays(_ACTIONS)))
    for each in figures:
        rss, pss = memory[each]
        print(f"{each}: at rest {100 * min(rest[each]):.2f} % of a core; after load {rss:.0f} MiB RSS, {pss:.0f} PSS")
        for start, found in delays[each]:
            print(f"{each}: {start:.2f} s to the first action that was reported; {found}")
    print(f"{'':<46} {'alone':>9}  {'Falco':^24} {'Lanner':^24} added   CPU: Falco   Lanner   lost: Falco  Lanner")
    for text in works:
        _print(text, alone[text], figures["Falco"][text], figures["Lanner"][text])


def _works(folder: Path) -> dict[str, Callable[[], float]]:
    """Return the workloads by name; each returns its processor time in seconds."""
    program = folder / "least"
    subprocess.run(["gcc", "-O2", "-o", program, HERE / "least.c"], check=True)

    def least(kind: str) -> Callable[[], float]:
        command = [str(program), kind, _SHORT_RUNS, _OPERATIONS]
        return lambda: float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1e9

    def command(argv: Sequence[str]) -> Callable[[], float]:
        return lambda: processor_seconds(argv)

    loop = str(workload())
    return {
        "open and close by an absolute name": least("absolute"),
        "open and close by a relative name": least("relative"),
        "getppid": least("getppid"),
        "write and read one byte": least("readwrite"),
        f"fork and exec of /bin/true, {STARTS:,} times": command([loop, "forkexec", str(STARTS)]),
        "open and close /etc/shadow, 2,000 times": command([loop, "watched", "2000"]),
        "connect and accept on loopback, 3,000 times": command([loop, "connect", "3000"]),
        "find and grep": command(["sh", "-c", SEARCH]),
        "compile": command(["sh", "-c", COMPILE]),
    }


def _measure(detector: _Detector, work: Callable[[], float], row: _Beside, at_rest: float) -> None:
    lost, before, began = detector.lost(), cpu_seconds(detector.pid), time.monotonic()
    row.times.append(work())
    time.sleep(_DRAIN_SECONDS)
    row.cpu.append(max(0.0, cpu_seconds(detector.pid) - before - at_rest * (time.monotonic() - began)))
    row.lost += detector.lost() - lost


@contextmanager
def _falco(program: str, configuration: str, rules: str, folder: Path) -> Iterator[_Detector]:
    metrics = folder / "metrics"
    metrics.unlink(missing_ok=True)
    command = _falco_command(
        program,
        configuration,
        rules,
        "stdout_output.enabled=false",
        "file_output.enabled=true",
        "file_output.keep_alive=true",
        "file_output.filename=/dev/null",
        "metrics.enabled=true",
        "metrics.interval=1s",
        f"metrics.output_file={metrics}",
        "metrics.kernel_event_counters_enabled=true",
    )
    with (folder / "falco.messages").open("wb") as messages:
        process = subprocess.Popen(command, stdout=messages, stderr=messages)
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not (metrics.exists() and metrics.read_bytes().endswith(b"\n")):
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"Falco did not start: {(folder / 'falco.messages').read_text()}")
                time.sleep(0.1)

            def lost() -> int:
                last = json.loads(metrics.read_text().splitlines()[-1])
                return int(last["output_fields"].get("scap.n_drops", 0))

            yield _Detector(process.pid, lost)
        finally:
            process.terminate()
            process.wait()


def _falco_command(program: str, configuration: str, rules: str, *settings: str) -> list[str]:
    always = ("engine.kind=modern_ebpf", "json_output=false")
    # -U: each line is written at once.
    options = (part for each in (*always, *settings) for part in ("-o", each))
    return [program, "-U", "-c", configuration, "-r", rules, *options]


@contextmanager
def _lanner(folder: Path, rules: Sequence[str], settings: Sequence[str]) -> Iterator[_Detector]:
    with lanner_run(folder, rules, alerts=False, settings=settings) as running, counters(running.process.pid) as read:
        yield _Detector(running.process.pid, lambda: read()[1])


def _print(text: str, alone: list[float], falco: _Beside, lanner: _Beside) -> None:
    # Other work on the machine only adds time: the lowest of the rounds is the closest to the real cost.
    ratios = [min(each.times) / min(alone) for each in (falco, lanner)]
    # Below this, the difference is noise.
    added = f"{(ratios[1] - 1) / (ratios[0] - 1):5.2f}" if ratios[0] - 1 > _LEAST_ADDED else "    -"
    each_round = [
        [beside / without for beside, without in zip(each.times, alone, strict=True)] for each in (falco, lanner)
    ]
    columns = "  ".join(
        f"{ratio:5.2f} ({min(rounds):5.2f} to {max(rounds):5.2f})"
        for ratio, rounds in zip(ratios, each_round, strict=True)
    )
    print(
        f"{text:<46} {1e9 * min(alone):>13,.0f} ns  {columns}  {added}  {min(falco.cpu):>8.2f} s "
        f"{min(lanner.cpu):>8.2f} s  {falco.lost:>10,} {lanner.lost:>7,}",
        flush=True,
    )


if __name__ == "__main__":
    main()
