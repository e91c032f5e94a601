"""Measure the time from a system call of a new process to its line on standard output, on an idle host.

    python -m bench.latency

Each action is a program that reads /etc/shadow, with a command line of its own, so that its alert repeats no
other. The start is measured as well: the time from the start of `lanner run` to the first action that raises an alert.
"""

import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.running import Running, lanner_command, workload

ACTIONS = 300
_START_SECONDS = 60
_START_GAP = 0.02
_SETTLE_SECONDS = 2.0
_GAPS = (0.02, 0.2)
_DRAIN_SECONDS = 3.0
_ACT = re.compile(rb"\bact (\d+)\b")


@dataclass(frozen=True, slots=True)
class Delays:
    """Milliseconds from each action to its line, from the lowest to the highest."""

    found: tuple[float, ...]
    actions: int

    def __str__(self) -> str:
        """Return a line of figures."""
        if not self.found:
            return f"no line for {self.actions} actions"
        p99 = self.found[int(len(self.found) * 0.99)]
        return (
            f"{len(self.found)} lines for {self.actions} actions; from system call to line: "
            f"p50 {statistics.median(self.found):.1f} ms, p99 {p99:.1f} ms, maximum {self.found[-1]:.1f} ms"
        )


class Actions:
    """Actions beside a detector that has just been started, whose standard output has a line for each alert."""

    def __init__(self, running: Running) -> None:
        """Begin to read its lines; actions begin with first()."""
        self._running = running
        self._began = time.time_ns()
        self._actions: dict[int, int] = {}
        self._lines: dict[int, int] = {}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for came, line in self._running.lines(_START_SECONDS):
            if found := _ACT.search(line):
                self._lines.setdefault(int(found[1]), came)

    def _act(self, seconds: float) -> None:
        number = len(self._actions)
        self._actions[number] = int(subprocess.check_output([workload(), "act", str(number)]))
        time.sleep(seconds)

    def first(self) -> float:
        """Cause alerts until one is reported; return the seconds from the start to that action."""
        deadline = time.monotonic() + _START_SECONDS
        while not self._lines:
            if self._running.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"no action was reported: {self._running.messages()}")
            self._act(_START_GAP)
        return (self._actions[min(self._lines)] - self._began) / 1e9

    def delays(self, actions: int = ACTIONS) -> Delays:
        """Cause alerts at random times, and return how long the lines took."""
        time.sleep(_SETTLE_SECONDS)
        before = len(self._actions)
        for _ in range(actions):
            self._act(random.uniform(*_GAPS))
        time.sleep(_DRAIN_SECONDS)
        taken = ((self._lines[each] - self._actions[each]) / 1e6 for each in self._lines if each >= before)
        return Delays(tuple(sorted(taken)), actions)


@contextmanager
def acting(
    command: Sequence[str | Path], messages: Path, *, cwd: Path | None = None
) -> Iterator[tuple[Running, Actions]]:
    """Start a detector for actions; terminate it at the end.

    Args:
        command: the program with its arguments.
        messages: receives its standard error.
        cwd: where it runs.
    """
    workload()
    with messages.open("wb") as sink:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sink, bufsize=0, cwd=cwd)
        running = Running(process, messages)
        try:
            yield running, Actions(running)
        finally:
            process.terminate()
            process.wait()


def main() -> None:
    """Measure, and print the start, and median, p99 and maximum."""
    random.seed(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with acting(lanner_command(folder), folder / "messages") as (_, actions):
            print(f"from the start of lanner run to the first action that was reported: {actions.first():.2f} s")
            print(actions.delays())


if __name__ == "__main__":
    main()
