"""Programs in separate processes, for benchmarks: `lanner run`, a broker, the workload to run beside them."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from bus.administration import create_missing
from bus.clients.readers import committed
from bus.connection import DEFAULT_PREFIX, Connection
from bus.topics import DAY_MS, EVENTS, PROCESSOR_GROUP, plan
from tests.cluster.broker import Broker

HERE = Path(__file__).parent
_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 60


def _family(pid: int) -> dict[int, list[int]]:
    """Return a process and all below it, by pid: the processor time of each, and of children that have ended."""
    children: dict[int, list[int]] = {}
    times: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = path.read_text(encoding="utf-8", errors="replace").rsplit(") ", 1)[1].split()
            found = int(path.parent.name)
            children.setdefault(int(fields[1]), []).append(found)
            times[found] = [int(each) for each in fields[11:15]]
    family = [pid]
    for each in family:
        family += children.get(each, [])
    return {each: times[each] for each in family}


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a program has used, with all its processes."""
    return sum(map(sum, _family(pid).values())) / _TICKS


def rss_mib(pid: int, row: str = "VmRSS:") -> float:
    """Return the current RSS of all processes of a program, MiB; with VmHWM: the sum of the highest of each."""
    return sum(_kib(Path(f"/proc/{each}/status"), row) for each in _family(pid)) / 1024


def pss_mib(pid: int) -> float:
    """Return the current PSS of all processes of a program, MiB: a page that several map counts once."""
    return sum(_kib(Path(f"/proc/{each}/smaps_rollup"), "Pss:") for each in _family(pid)) / 1024


def _kib(path: Path, row: str) -> int:
    return next(int(each.split()[1]) for each in path.read_text().splitlines() if each.startswith(row))


@contextmanager
def running_broker(folder: Path) -> Iterator[Broker]:
    """Run a broker with its files in a folder."""
    broker = Broker(folder)
    broker.start()
    try:
        yield broker
    finally:
        broker.remove()


def topics_on(broker: Broker, partitions: int, prefix: str = DEFAULT_PREFIX) -> Connection:
    """Create all topics on a broker; return a connection to them."""
    connection = Connection(bootstrap_servers=broker.address, prefix=prefix)
    create_missing(connection, plan(prefix, partitions, 1, DAY_MS))
    return connection


def acknowledged(connection: Connection, partitions: int, topic: str = EVENTS, group: str = PROCESSOR_GROUP) -> int:
    """Return how many messages of a topic a group has acknowledged."""
    found = committed(connection, connection.topic(group), connection.topic(topic), range(partitions))
    return sum(max(0, offset) for offset in found.values())


class Running:
    """A running program, such as a `lanner run` whose alerts are lines of JSON."""

    def __init__(self, process: "subprocess.Popen[bytes]", errors: Path) -> None:
        """Store the process and the file that receives its messages."""
        self.process = process
        self._errors = errors

    def cpu_seconds(self) -> float:
        """Return the processor time that all its processes have used."""
        return cpu_seconds(self.process.pid)

    def memory_mib(self) -> float:
        """Return the current RSS of all its processes, MiB."""
        return rss_mib(self.process.pid)

    def lines(self, seconds: float) -> Iterator[tuple[int, bytes]]:
        """Yield each line with its arrival time (wall clock, ns), until none arrives for this long."""
        assert self.process.stdout is not None
        while select.select([self.process.stdout], [], [], seconds)[0]:
            came = time.time_ns()
            line = self.process.stdout.readline()
            if not line:
                return
            yield came, line

    def messages(self) -> str:
        """Return what it has logged."""
        return self._errors.read_text(encoding="utf-8")


@contextmanager
def started(command: Sequence[str | Path], messages: Path, ready: str, **options: Any) -> Iterator[Running]:
    """Run a program; begin the block when it has logged a text, and terminate it at the end.

    Args:
        command: the program with its arguments.
        messages: receives its standard error.
        ready: the text.
        options: of subprocess.Popen.
    """
    with messages.open("wb") as sink:
        process = subprocess.Popen(command, stderr=sink, **options)
        running = Running(process, messages)
        try:
            deadline = time.monotonic() + _START_SECONDS
            while ready not in running.messages():
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"lanner did not start: {running.messages()}")
                time.sleep(0.05)
            yield running
        finally:
            process.terminate()
            process.wait()


@contextmanager
def lanner_run(
    folder: Path, rules: Sequence[str] = (), *, alerts: bool = True, settings: Sequence[str] = ()
) -> Iterator[Running]:
    """Run `lanner run` with the shipped or other rules.

    Args:
        folder: for its messages and its recording.
        rules: files.
        alerts: whether its output is read.
        settings: further settings, as `-o` takes them.
    """
    output = subprocess.PIPE if alerts else subprocess.DEVNULL
    command = lanner_command(folder, rules, settings)
    with started(command, folder / "messages", "watching", stdout=output, bufsize=0) as running:
        yield running


def lanner_command(folder: Path, rules: Sequence[str] = (), settings: Sequence[str] = ()) -> list[str]:
    """Return the command of `lanner run`; the arguments are those of lanner_run()."""
    options = [part for path in rules for part in ("-r", path)]
    options += [part for each in (f"keep.folder={folder}/kept", *settings) for part in ("-o", each)]
    return [sys.executable, "-m", "lanner", "--format", "json", *options, "run"]


@cache
def workload() -> Path:
    """Compile the workload once per process."""
    target = Path(sys.prefix) / "lanner-bench-workload"
    subprocess.run(["gcc", "-O2", "-o", str(target), str(HERE / "workload.c")], check=True)
    return target


def nanoseconds(kind: str, count: int) -> float:
    """Run the workload; return nanoseconds per operation."""
    done = subprocess.run([str(workload()), kind, str(count)], capture_output=True, text=True, check=True)
    return float(done.stdout)
