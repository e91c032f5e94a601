"""A `lanner run` beside a hostile user, and an honest process whose actions each have a mark of their own."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self
from urllib.request import urlopen

from tests.live.lanner.watching import STARTED, Watching
from tests.ports import free_ports

SUFFIX = ".lanner-honest"
HONEST_RULES = f"""
- rule: Honest file read
  desc: Marked.
  condition: evt.type = openat and fd.name endswith {SUFFIX} and evt.is_open_read = true
  output: read %fd.name by %proc.cmdline
  priority: WARNING
- rule: Honest program run
  desc: Marked.
  condition: evt.type in (execve, execveat) and proc.args endswith {SUFFIX} and proc.name = true
  output: ran %proc.cmdline
  priority: WARNING
"""
RULES = f"""{HONEST_RULES}
- rule: Hostile file read
  desc: What the hostile user does all the time.
  condition: evt.type in (open, openat) and (fd.name = /etc/shadow or (fd.name startswith /root/ and evt.rawres < 0))
  output: "%proc.cmdline %proc.aname[2] %proc.aname[900] %proc.exepath %proc.cwd %container.name %fd.name"
  priority: NOTICE
- rule: Hostile program run
  desc: The same.
  condition: evt.type in (execve, execveat) and user.uid = 65534 and not proc.args contains honest
  output: "%proc.cmdline %proc.pcmdline %proc.exepath %container.id"
  priority: NOTICE
"""
_STEP_SECONDS = 0.2
_PATIENCE_SECONDS = 60.0
"""What a flood leaves in the rings is evaluated after it: 20 s later, where two processors have ten others to serve."""
_LOST = ("Lanner internal: events lost", "Lanner internal: facts missing")


class Watched:
    """A running `lanner run` whose alerts are printed as JSON and whose health can be queried."""

    def __init__(self, watching: Watching, port: int) -> None:
        self.watching = watching
        self.port = port

    def marks(self) -> set[str]:
        """Return the marks that were alerted on."""
        return marks_of(list(self.watching.out.lines))

    def losses(self) -> Counter[str]:
        """Return what was reported as lost, by reason."""
        found: Counter[str] = Counter()
        for line in list(self.watching.out.lines):
            if any(name in line for name in _LOST):
                fields = _alert(line)["output_fields"]
                found.update({name: number for name, number in fields.items() if "." not in name and number})
        return found

    def is_healthy(self) -> bool:
        """Return whether it answers that it works, within 5 s."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def memory_mib(self) -> int:
        """Return the most memory that it has held."""
        status = Path(f"/proc/{self.watching.process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) // 1024


def marks_of(lines: Iterable[str]) -> set[str]:
    """Return the marks that alerts were raised for, one alert a line."""
    found = set()
    for line in lines:
        if SUFFIX in line and (alert := _alert(line))["rule"].startswith("Honest"):
            fields = alert["output_fields"]
            text = fields.get("fd.name") or fields.get("proc.cmdline")
            found.add(f"{alert['rule']} {Path(str(text).split()[-1]).name.removesuffix(SUFFIX)}")
    return found


def _alert(line: str) -> dict[str, Any]:
    try:
        alert: dict[str, Any] = json.loads(line)
    except ValueError:
        # The last line may not be whole yet.
        return {"rule": "", "output_fields": {}}
    return alert


@contextmanager
def watched(rules: Path) -> Iterator[Watched]:
    """Run `lanner run` with default limits; it is killed at the end if it still runs."""
    (port,) = free_ports(1)
    settings = ("-o", f"http.listen={port}", "-o", "memory.enabled=false", "--format", "json")
    with Watching("run", *settings, "-r", rules, started="") as watching:
        until = time.monotonic() + _PATIENCE_SECONDS
        while STARTED not in watching.err.text:
            assert watching.process.poll() is None, watching.err.text
            assert time.monotonic() < until, watching.err.text
            time.sleep(0.05)
        yield Watched(watching, port)


class Honest:
    """Performs actions while it is entered: reads a file and runs a program, five times a second."""

    def __init__(self, folder: Path, name: str) -> None:
        self.marks: set[str] = set()
        self._folder = folder
        self._name = name
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="honest")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def act(self, number: int) -> None:
        """Act once."""
        mark = f"{self._name}-{number}"
        path = self._folder / f"{mark}{SUFFIX}"
        path.write_text("")
        subprocess.run(["/bin/cat", path], check=True)
        subprocess.run(["/bin/true", f"/{mark}{SUFFIX}"], check=True)
        self.marks |= {f"Honest file read {mark}", f"Honest program run {mark}"}

    def _run(self) -> None:
        number = 0
        while not self._stopping.wait(_STEP_SECONDS):
            self.act(number)
            number += 1


@contextmanager
def hostile_process(command: list[str], *, cgroup: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a hostile program in a session of its own; the whole session is killed at the end.

    Args:
        command: what is run; it gives its rights up by itself.
        cgroup: that it begins in.
    """

    def enter() -> None:
        if cgroup is not None:
            (cgroup / "cgroup.procs").write_text(f"{os.getpid()}\n", encoding="ascii")

    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=enter,  # noqa: PLW1509  this test's threads hold no lock that the child needs
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def missing_marks(watch: Watched, marks: set[str]) -> set[str]:
    """Wait until all marks are alerted on, for a while; return those that are not."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while (missing := marks - watch.marks()) and time.monotonic() < until:
        time.sleep(0.2)
    return missing
