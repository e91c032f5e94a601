"""A `lanner` that runs beside a test, and its output while it runs."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

RULES = """
- rule: Marked file read
  desc: d
  condition: evt.type = openat and fd.name endswith .lanner-mark and evt.is_open_read = true
  output: marked file read (file=%fd.name command=%proc.cmdline)
  priority: WARNING
"""
STARTED = "Stop: Ctrl-C"
PATIENCE = 60.0


class Watching:
    """A running program; entering waits until it watches, leaving ends it."""

    def __init__(
        self, *arguments: str | Path, environment: dict[str, str] | None = None, started: str = STARTED
    ) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LANNER")}
        # What is counted at the end must not reach the state file of this host, nor what is seen its recording.
        self._folder = tempfile.TemporaryDirectory(prefix="lanner-live-")
        clean["LANNER__MEMORY__FILENAME"] = f"{self._folder.name}/memory"
        clean["LANNER__KEEP__FOLDER"] = f"{self._folder.name}/kept"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lanner", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean | (environment or {}),
        )
        self._started = started
        self.out = _Lines(self.process.stdout)
        self.err = _Lines(self.process.stderr)

    def __enter__(self) -> Self:
        if self._started:
            self.err.wait_for(self._started)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self._folder.cleanup()

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ask it to end, and give its exit code."""
        self.send(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end and for all of its output."""
        code = self.process.wait(PATIENCE)
        self.out.finish()
        self.err.finish()
        return code

    def takes_signals(self) -> bool:
        """Return whether it handles SIGTERM by now: before that, the interpreter is still starting."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)
        return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)

    def programs(self) -> set[int]:
        """Return the ids of the BPF programs that it holds."""
        found = set()
        for info in Path(f"/proc/{self.process.pid}/fdinfo").iterdir():
            with contextlib.suppress(OSError):
                found |= {int(number) for number in re.findall(r"^prog_id:\s*(\d+)", info.read_text(), re.MULTILINE)}
        return found


class _Lines:
    """The lines of a stream, as they come."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        assert stream is not None
        self.stream = stream
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """All that came."""
        return "\n".join(self.lines)

    def wait_for(self, text: str, count: int = 1) -> str:
        """Return the line in which a text appears for the count-th time."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = [line for line in list(self.lines) if text in line]
            if len(found) >= count:
                return found[count - 1]
            if not self._reader.is_alive() and not any(text in line for line in self.lines):
                break
            time.sleep(0.01)
        raise AssertionError(f"{text!r} did not come; this did:\n{self.text}")

    def finish(self) -> None:
        """Wait for the stream's end."""
        self._reader.join(PATIENCE)

    def _read(self) -> None:
        with contextlib.suppress(ValueError):
            for raw in self.stream:
                self.lines.append(raw.decode("utf-8", "backslashreplace").rstrip("\n"))


def loaded_programs() -> set[int]:
    """Return the ids of all BPF programs in the kernel."""
    reported = subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, check=True).stdout
    return {program["id"] for program in json.loads(reported)}


def touch_mark(folder: Path, name: str = "a") -> Path:
    """Do what the rule of these tests is about: have another process read a marked file."""
    path = folder / f"{name}.lanner-mark"
    path.write_text("")
    subprocess.run(["cat", path], check=True)
    return path


@contextlib.contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Path]:
    """Mount a file system that is soon full."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def eventually(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
