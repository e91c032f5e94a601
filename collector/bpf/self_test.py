"""Checks at start-up that the kernel side reads this kernel correctly.

Wrong struct offsets yield plausible values, not errors. So a child with known facts is run and compared with its
records. On a mismatch the collector refuses to run, because every alert would be wrong. Records lost because other
programs start at a high rate are not a mismatch; the test is then repeated.
"""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from collector.records.types import Exec, Record
from foundation.errors import EnvironmentUnsupported, TooBusy

_PROGRAM = "/bin/true"
_ARGUMENT = "lanner-self-test"
_WAIT_SECONDS = 5.0
_BUSY_WAIT_SECONDS = 0.5
_BUSY_SECONDS = 45.0
"""Half of systemd's start time-out."""


def run_self_test(
    read: Callable[[], list[Record]],
    lost: Callable[[], int],
    *,
    program: str = _PROGRAM,
    busy_seconds: float = _BUSY_SECONDS,
) -> None:
    """Run a child and compare its record; repeat while records were lost.

    Args:
        read: returns the lifecycle records since the last call.
        lost: returns how many lifecycle records have been lost.
        program: program to run.
        busy_seconds: time-out while records are being lost.

    Raises:
        EnvironmentUnsupported: the kernel side reports the child wrongly or not at all.
        TooBusy: records come faster than they can be read.
    """
    deadline = time.monotonic() + busy_seconds
    while True:
        before = lost()
        record = _reported_exec(read, lost, program, before)
        if record is not None:
            _compare(record, program)
            return
        if lost() == before:
            break
        if time.monotonic() >= deadline:
            raise TooBusy(
                "the self-test could not be completed: programs start so fast on this host that the kernel "
                "side loses their records",
                "try again later, or raise collector.lifecycle_ring_mib; find the cause with `ps`",
            )
    raise EnvironmentUnsupported(
        "the self-test failed: the kernel side did not report a program that was started",
        "report this kernel's version; run `lanner doctor` to find other problems",
    )


def _reported_exec(read: Callable[[], list[Record]], lost: Callable[[], int], program: str, before: int) -> Exec | None:
    """Run a child and return its exec record; None if there is none."""
    try:
        child = subprocess.Popen([program, _ARGUMENT], stdin=subprocess.DEVNULL)
    except BlockingIOError:
        # A fork bomb leaves no process for us. The loss counters show whether that is the reason.
        time.sleep(_BUSY_WAIT_SECONDS)
        return None
    except OSError as error:
        reason = f"the self-test can't start {program}: {error.strerror}"
        raise EnvironmentUnsupported(reason, "install coreutils, which contain it") from error
    started = time.monotonic()
    found = None
    # Read while the child runs as well: a ring may fill up before the child ends.
    while found is None or child.poll() is None:
        for record in read():
            if isinstance(record, Exec) and record.state.who.pid == child.pid:
                found = record
        waited = time.monotonic() - started
        is_over = waited > _WAIT_SECONDS or (waited > _BUSY_WAIT_SECONDS and lost() != before)
        if found is None and is_over and child.poll() is not None:
            break
        time.sleep(0.002)
    return found


def _compare(record: Exec, program: str) -> None:
    state = record.state
    facts = {
        "ppid": (state.ppid, os.getpid()),
        "uid": (state.who.uid, os.geteuid()),
        "gid": (state.gid, os.getegid()),
        "sid": (state.sid, os.getsid(0)),
        "pgid": (state.pgid, os.getpgid(0)),
        # -1 where the kernel doesn't have it.
        "loginuid": (state.loginuid, -1 if state.loginuid == -1 else _loginuid()),
        "name": (state.comm, Path(program).name),
        "args": (record.args, (program, _ARGUMENT)),
        "exe_ino": (record.exe_ino, Path(program).stat().st_ino),
    }
    for name, (reported, true) in facts.items():
        if reported != true:
            _refuse(name, reported, true)
    # The kernel's paths begin at the mount namespace's root: in a chroot they are longer than ours.
    paths = (("exepath", record.exepath, os.path.realpath(program)), ("cwd", state.cwd, str(Path.cwd())))
    for name, reported_path, true_path in paths:
        if not reported_path.endswith(true_path):
            _refuse(name, reported_path, true_path)


def _refuse(name: str, reported: object, true: object) -> NoReturn:
    raise EnvironmentUnsupported(
        f"the self-test failed: the kernel side read {name} as {reported!r}, but it is {true!r}",
        "report this kernel's version; Lanner refuses to run on a kernel that it reads wrongly",
    )


def _loginuid() -> int:
    try:
        number = int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return -1
    return -1 if number == 2**32 - 1 else number
