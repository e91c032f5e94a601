import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from collector.bpf import self_test
from collector.bpf.self_test import run_self_test
from collector.records.types import Exec, Record
from foundation.errors import EnvironmentUnsupported, TooBusy
from tests.unit.collector.processes.synthetic import execution, identity


class Kernel:
    """Reports this process's children as a kernel side would, or loses records."""

    def __init__(self, *, losses: int, is_silent: bool = False) -> None:
        self.lost_records = 0
        self.looks = 0
        self.reported: list[int] = []
        self._left = losses
        self._is_silent = is_silent

    def lost(self) -> int:
        """Return how many records are lost."""
        return self.lost_records

    def read(self) -> list[Record]:
        """Return the exec of each child of this process that was not reported yet."""
        self.looks += 1
        fresh = [pid for pid in _children() if pid not in self.reported and _runs_true(pid)]
        self.reported += fresh
        if fresh and self._left:
            self._left -= 1
            self.lost_records += 100
            return []
        return [] if self._is_silent else [_exec_of(pid) for pid in fresh]


def _children() -> list[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    return list(map(int, text.split()))


def _runs_true(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"lanner-self-test\0")


def _exec_of(pid: int) -> Exec:
    reported = execution(
        identity(pid, uid=os.geteuid()),
        "program",
        ppid=os.getpid(),
        gid=os.getegid(),
        sid=os.getsid(0),
        pgid=os.getpgid(0),
        loginuid=self_test._loginuid(),
        cwd=str(Path.cwd()),
    )
    arguments = tuple(Path(f"/proc/{pid}/cmdline").read_text().removesuffix("\0").split("\0"))[1:]
    return replace(reported, args=arguments, exepath=arguments[0], exe_ino=Path(arguments[0]).stat().st_ino)


@pytest.fixture
def program(tmp_path: Path) -> str:
    """Return a program that runs long enough to be seen in /proc."""
    path = tmp_path / "program"
    path.write_text("#!/bin/sh\nsleep 0.3\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_it_passes_where_the_kernel_side_is_right(program: str) -> None:
    """With a single child."""
    kernel = Kernel(losses=0)
    run_self_test(kernel.read, kernel.lost, program=program)
    assert len(kernel.reported) == 1


def test_it_is_done_again_while_records_are_lost(program: str) -> None:
    """A fork storm doesn't mean that the kernel side is wrong."""
    kernel = Kernel(losses=2)
    run_self_test(kernel.read, kernel.lost, program=program)
    assert len(kernel.reported) == 3


def test_it_gives_up_as_too_busy_where_that_does_not_end(program: str) -> None:
    """Not as an unreadable kernel: a service manager must start it again."""
    kernel = Kernel(losses=100)
    with pytest.raises(TooBusy):
        run_self_test(kernel.read, kernel.lost, program=program, busy_seconds=1)
    assert len(kernel.reported) >= 2


def test_a_silent_kernel_side_is_refused(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was lost, and nothing was reported."""
    monkeypatch.setattr(self_test, "_WAIT_SECONDS", 0.3)
    kernel = Kernel(losses=0, is_silent=True)
    with pytest.raises(EnvironmentUnsupported, match="did not report") as found:
        run_self_test(kernel.read, kernel.lost, program=program)
    assert not isinstance(found.value, TooBusy)
    assert len(kernel.reported) == 1


def test_a_host_without_the_program_that_it_starts_is_told_so() -> None:
    """The collector's image has no shell, and other systems put programs elsewhere."""
    kernel = Kernel(losses=0)
    with pytest.raises(EnvironmentUnsupported, match="can't start /none/true: No such file"):
        run_self_test(kernel.read, kernel.lost, program="/none/true")
