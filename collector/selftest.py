"""Finds out, before the first event counts, whether the kernel side reads this kernel right.

Wrong struct offsets give plausible numbers, not errors: so a child is run whose facts are known, and what the kernel
side told of it is compared. On a mismatch we refuse to run, for every alert would be a lie.
"""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from collector.errors import EnvironmentLacks
from collector.records import Exec, Record

_PROGRAM = "/bin/true"
_ARGUMENT = "lanner-self-test"
_WAIT_SECONDS = 5.0


def run_self_test(read: Callable[[], list[Record]]) -> None:
    """Run a child and compare; raises EnvironmentLacks where the kernel side is wrong about it.

    Args:
        read: gives the lifecycle records that have come since it was last called.
    """
    child = subprocess.Popen([_PROGRAM, _ARGUMENT], stdin=subprocess.DEVNULL)
    child.wait()
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        for record in read():
            if isinstance(record, Exec) and record.state.who.pid == child.pid:
                _compare(record)
                return
        time.sleep(0.002)
    raise EnvironmentLacks(
        "the self-test failed: the kernel side did not tell of a program that was started",
        "report this kernel's version; `lanner doctor` shows what else may be wrong",
    )


def _compare(record: Exec) -> None:
    state = record.state
    facts = {
        "ppid": (state.ppid, os.getpid()),
        "uid": (state.who.uid, os.geteuid()),
        "gid": (state.gid, os.getegid()),
        "sid": (state.sid, os.getsid(0)),
        "pgid": (state.pgid, os.getpgid(0)),
        "loginuid": (state.loginuid, _loginuid()),
        "name": (state.comm, Path(_PROGRAM).name),
        "args": (record.args, (_PROGRAM, _ARGUMENT)),
        "exe_ino": (record.exe_ino, Path(_PROGRAM).stat().st_ino),
    }
    for name, (told, true) in facts.items():
        if told != true:
            _refuse(name, told, true)
    # The kernel's paths begin at the mount namespace's root: in a chroot they are longer than ours.
    paths = (("exepath", record.exepath, os.path.realpath(_PROGRAM)), ("cwd", state.cwd, str(Path.cwd())))
    for name, told_path, true_path in paths:
        if not told_path.endswith(true_path):
            _refuse(name, told_path, true_path)


def _refuse(name: str, told: object, true: object) -> NoReturn:
    raise EnvironmentLacks(
        f"the self-test failed: the kernel side read {name} as {told!r}, and it is {true!r}",
        "report this kernel's version; Lanner won't run on a kernel that it reads wrongly",
    )


def _loginuid() -> int:
    try:
        number = int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return -1
    return -1 if number == 2**32 - 1 else number
