"""Processes that undo an action at the end of its lease."""

import os
import time
from pathlib import Path

from collector.actions.keeper import LeaseKeepers

SECOND = 1_000_000_000


def boot_clock() -> int:
    """Return the boot clock, ns."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def has_text(path: Path, text: str) -> bool:
    """Wait until a file has a text."""
    for _ in range(1000):
        if path.read_text() == text:
            return True
        time.sleep(0.01)
    return False


def test_it_writes_or_runs_a_command_at_the_end_and_not_before(tmp_path: Path) -> None:
    """It is in a session of its own, and inherits no file."""
    written, ran, later = (tmp_path / name for name in ("written", "ran", "later"))
    for path in (written, ran, later):
        path.write_text("frozen")
    reports: list[str] = []
    keepers, ends = LeaseKeepers(reports.append), boot_clock() + SECOND // 2
    identity = keepers.start({"write": [str(tmp_path), "written", "thawed"]}, ends)
    keepers.start({"command": ["/bin/sh", "-c", f"printf thawed > {ran}"]}, ends)
    other = keepers.start({"write": [str(tmp_path), "later", "thawed"]}, ends + 60 * SECOND)
    assert keepers.start({"namespaces": ["1"]}, ends) == ""

    pid = int(identity.split()[0])
    assert os.getsid(pid) == pid
    assert has_text(written, "thawed")
    assert has_text(ran, "thawed")
    assert boot_clock() >= ends
    assert later.read_text() == "frozen"
    keepers.end(other)
    assert reports == []


def test_only_the_process_that_was_started_is_ended(tmp_path: Path) -> None:
    """Its id may be another's by now: the start time decides."""
    reports: list[str] = []
    keepers = LeaseKeepers(reports.append)
    identity = keepers.start({"write": [str(tmp_path), "x", "y"]}, boot_clock() + 60 * SECOND)
    pid = int(identity.split()[0])
    for wrong in (f"{pid} 1", "", "x y", f"{2**22 + 1} 1"):
        keepers.end(wrong)
    assert Path(f"/proc/{pid}").exists()
    keepers.end(identity)
    for _ in range(500):
        keepers.reap()
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.01)
    assert not Path(f"/proc/{pid}").exists()


def test_one_that_ends_before_its_time_is_reported(tmp_path: Path) -> None:
    """From then on, the service alone ends the action."""
    reports: list[str] = []
    keepers = LeaseKeepers(reports.append)
    keepers.start({"write": [str(tmp_path / "missing"), "x", "y"]}, boot_clock() + 60 * SECOND)
    for _ in range(1000):
        keepers.reap()
        if reports:
            break
        time.sleep(0.01)
    assert "ended with code 1" in reports[0]
