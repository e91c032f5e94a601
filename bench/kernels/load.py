"""Runs in a guest: loads a running Lanner, and finds what it lost and whether it still alerts.

Processes of another user open files, start programs and connect as fast as they can. Meanwhile root performs marked
actions, each of which raises an alert of its own.
"""

import json
import mmap
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from struct import pack, pack_into, unpack_from
from typing import Any

from collector.kernel import bpf_syscall

LANNER = (sys.executable, "-m", "lanner")
SHIPPED = Path(__file__).parents[2] / "rules/lanner_rules.yaml"
MOST_MIB = 512
"""The memory that lanner-collector.service allows."""
_MARK = ".lanner-mark"
_RULES = f"""
- rule: Marked file
  desc: Read by root during the load.
  condition: evt.type in (open, openat) and fd.name endswith {_MARK}
  output: read %fd.name
  priority: WARNING
- rule: Marked program
  desc: Run by root during the load.
  condition: evt.type in (execve, execveat) and proc.args endswith {_MARK}
  output: ran %proc.cmdline
  priority: WARNING
"""
_OWN_LOSSES = frozenset({"events_over_share", "lifecycle_over_share"})
"""Losses of a user who makes more events than a user's share of a ring."""
SKIPPED_RUNS = "recursion_misses"
"""Runs of programs that the kernel skipped: no user's, and also those for calls that no rule needs."""
_NOBODY = 65534
_PROG_GET_FD_BY_ID, _MOST_PROGRAMS = 13, 1000
"""Source: include/uapi/linux/bpf.h; of a guest that has just booted, the numbers are small."""
_FEW_FILES, _PAUSE_SECONDS, _WAIT_SECONDS, _MOST_NAMED = 7, 0.5, 300, 8


@dataclass(slots=True)
class Load:
    """What was done and what Lanner made of it."""

    seconds: float
    made: dict[str, int] = field(default_factory=dict)
    """By kind, how many actions the other user's processes performed."""
    marked: int = 0
    alerted: int = 0
    """How many of the marked actions raised an alert."""
    missing: list[str] = field(default_factory=list)
    """Some of those that raised none."""
    internal: dict[str, int] = field(default_factory=dict)
    """Alerts of Lanner about itself, by rule."""
    lost: dict[str, int] = field(default_factory=dict)
    """Events that Lanner reported as lost, by reason."""
    skipped: dict[str, int] = field(default_factory=dict)
    """By BPF program's number, how often the kernel did not run it because it ran on that processor already."""
    memory_mib: int = 0
    """The most that it held."""

    @property
    def failure(self) -> str:
        """Return what is wrong; nothing if all is right."""
        others = {reason: number for reason, number in self.lost.items() if reason not in {*_OWN_LOSSES, SKIPPED_RUNS}}
        found = []
        if self.alerted < self.marked:
            found.append(
                f"alerts for {self.alerted} of {self.marked} marked actions, lost: {self.lost or 'nothing'}, "
                f"missing: {', '.join(self.missing)}, "
                f"runs of programs that the kernel skipped: {self.skipped or 'none'}"
            )
        elif others:
            found.append(f"lost: {others}")
        if self.memory_mib > MOST_MIB:
            found.append(f"{self.memory_mib} MiB")
        return "; ".join(found)


def load(seconds: float, store: Callable[[dict[str, Any]], None]) -> str:
    """Load a running Lanner; return what is wrong.

    Args:
        seconds: how long.
        store: receives what was found, if Lanner started.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "marked.yaml").write_text(_RULES)
        messages, alerts = folder / "messages", folder / "alerts"
        command = [*LANNER, "run", "-o", "json_output=true", "-r", str(SHIPPED), "-r", str(folder / "marked.yaml")]
        with messages.open("w") as log, alerts.open("w") as output:
            lanner = subprocess.Popen(command, stdout=output, stderr=log)
        found = Load(seconds)
        try:
            if not wait(lambda: "watching" in messages.read_text(), _WAIT_SECONDS):
                return "it did not start: " + messages.read_text()[-300:]
            _act(found, folder, lanner.pid)
            wait(lambda: len(_alerted(alerts)) >= found.marked, _WAIT_SECONDS)
            found.memory_mib = max(found.memory_mib, _memory_mib(lanner.pid))
            found.skipped = _skipped()
        finally:
            lanner.send_signal(signal.SIGINT)
            try:
                ended = lanner.wait(_WAIT_SECONDS)
            except subprocess.TimeoutExpired:
                lanner.kill()
                ended = lanner.wait()
        raised = _alerted(alerts)
        marks = (f"{what} {number}" for number in range(0, found.marked, 2) for what in ("read", "ran"))
        found.missing = [mark for mark in marks if mark not in raised][:_MOST_NAMED]
        found.alerted, found.lost = len(raised), _lost(alerts)
        internal = (each["rule"] for each in _records(alerts) if each["rule"].startswith("Lanner internal"))
        found.internal = dict(Counter(internal))
        store({name: getattr(found, name) for name in Load.__slots__})
        return f"it ended with {ended}: {messages.read_text()[-300:]}" if ended else found.failure


def wait(is_met: Callable[[], bool], seconds: float) -> bool:
    """Wait until a condition is met, for so long; return whether it is."""
    deadline = time.monotonic() + seconds
    while not is_met():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _act(found: Load, folder: Path, lanner: int) -> None:
    """Let the other user's processes run for a while, and perform marked actions beside them."""
    (own := folder / "own").mkdir()
    os.chown(own, _NOBODY, _NOBODY)
    folder.chmod(0o711)
    counts = mmap.mmap(-1, mmap.PAGESIZE)
    kinds = {"opens": _opens, "starts": _starts, "connects": _connects}
    children = [_child(act, own, counts, place) for place, act in enumerate(kinds.values())]
    deadline = time.monotonic() + found.seconds
    while time.monotonic() < deadline:
        mark = f"{found.marked}{_MARK}"
        (folder / mark).write_bytes(b"")
        subprocess.run(["/bin/true", mark], check=True)
        found.marked += 2
        found.memory_mib = max(found.memory_mib, _memory_mib(lanner))
        time.sleep(_PAUSE_SECONDS)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    found.made = {kind: unpack_from("q", counts, 8 * place)[0] for place, kind in enumerate(kinds)}


def _child(act: Callable[[Path], Callable[[], None]], folder: Path, counts: mmap.mmap, place: int) -> int:
    """Start a process of the other user that does one thing all the time and counts it; return its pid."""
    child = os.fork()
    if not child:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
        once, done = act(folder), 0
        while True:
            once()
            done += 1
            pack_into("q", counts, 8 * place, done)
    return child


def _opens(folder: Path) -> Callable[[], None]:
    turns = cycle([folder / str(number) for number in range(_FEW_FILES)])

    def once() -> None:
        next(turns).write_bytes(b"")

    return once


def _starts(_folder: Path) -> Callable[[], None]:
    def once() -> None:
        os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)

    return once


def _connects(_folder: Path) -> Callable[[], None]:
    server = socket.create_server(("127.0.0.1", 0))
    address = server.getsockname()

    def once() -> None:
        with socket.create_connection(address) as client, server.accept()[0]:
            # Without a state in the kernel that takes a minute to end, of which ports would run out.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    return once


def _memory_mib(pid: int) -> int:
    """Return what a program and the processes below it hold."""
    found = 0
    with suppress(OSError):
        rows = Path(f"/proc/{pid}/status").read_text().splitlines()
        found += next((int(row.split()[1]) // 1024 for row in rows if row.startswith("VmRSS:")), 0)
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += _memory_mib(int(child))
    return found


def _skipped() -> dict[str, int]:
    """Return how many runs of each BPF program of this guest the kernel has skipped.

    Source: bpf_prog_show_fdinfo() in kernel/bpf/syscall.c.
    """
    found = {}
    for number in range(1, _MOST_PROGRAMS):
        with suppress(OSError):
            descriptor = bpf_syscall._bpf(_PROG_GET_FD_BY_ID, pack("I", number))  # noqa: SLF001
            rows = (row.split() for row in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines())
            os.close(descriptor)
            found[str(number)] = next((int(row[1]) for row in rows if row[0] == "recursion_misses:"), 0)
    return {number: misses for number, misses in found.items() if misses}


def _records(alerts: Path) -> Sequence[dict[str, Any]]:
    found = []
    for line in alerts.read_text(errors="replace").splitlines():
        # The last line may not be whole yet.
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def _alerted(alerts: Path) -> set[str]:
    """Return the marked actions that raised alerts, such as "read 6" and "ran 6"."""
    found = (re.search(rf"\b(read|ran) .*?(\d+){_MARK}", each["output"]) for each in _records(alerts))
    return {f"{each[1]} {each[2]}" for each in found if each is not None}


def _lost(alerts: Path) -> dict[str, int]:
    found: Counter[str] = Counter()
    for each in _records(alerts):
        if each["rule"] == "Lanner internal: events lost":
            fields = each["output_fields"].items()
            found.update({name: number for name, number in fields if isinstance(number, int) and "." not in name})
    return {name: number for name, number in found.items() if number}
