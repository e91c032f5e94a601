"""A `lanner run` in a separate process, for benchmarks, and the workload to run beside it."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 60


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss_mib(pid: int) -> float:
    """Return a process's current RSS, MiB."""
    rows = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmRSS:")) / 1024


class Running:
    """A running `lanner run` whose alerts are lines of JSON."""

    def __init__(self, process: "subprocess.Popen[bytes]", errors: Path) -> None:
        """Store the process and the file that receives its messages."""
        self.process = process
        self._errors = errors

    def cpu_seconds(self) -> float:
        """Return the processor time used so far."""
        return cpu_seconds(self.process.pid)

    def memory_mib(self) -> float:
        """Return its current RSS, MiB."""
        return rss_mib(self.process.pid)

    def lines(self, seconds: float) -> Iterator[tuple[int, bytes]]:
        """Yield each line with its arrival time (wall clock, ns), until none arrives for this long."""
        assert self.process.stdout is not None
        while select.select([self.process.stdout], [], [], seconds)[0]:
            line = self.process.stdout.readline()
            if not line:
                return
            yield time.time_ns(), line

    def messages(self) -> str:
        """Return what it has logged."""
        return self._errors.read_text(encoding="utf-8")


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
    errors = folder / "messages"
    options = [part for path in rules for part in ("-r", path)]
    options += [part for each in (f"keep.folder={folder}/kept", *settings) for part in ("-o", each)]
    with errors.open("wb") as sink:
        command = [sys.executable, "-m", "lanner", "--format", "json", *options, "run"]
        output = subprocess.PIPE if alerts else subprocess.DEVNULL
        process = subprocess.Popen(command, stdout=output, stderr=sink, bufsize=0)
        running = Running(process, errors)
        try:
            deadline = time.monotonic() + _START_SECONDS
            while "watching" not in running.messages():
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"lanner did not start: {running.messages()}")
                time.sleep(0.05)
            yield running
        finally:
            process.terminate()
            process.wait()


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
