"""Ends what has a lease, even if all other processes of Lanner were killed: a small process of its own for each action.

It sleeps until the end of the lease, by the clock that goes on while the host is suspended, then writes to a file of a
control group, or becomes the command that undoes the action. Undoing is idempotent: the service undoes it as
well, if it is there.
"""

import os
import time
from collections.abc import Callable, Mapping

FROZEN_ARGUMENT = "lease-keeper"
"""What the tarball's program is started with to become such a process."""
_NAP_SECONDS = 10.0
"""A sleep doesn't go on while the host is suspended."""
_NS = 1_000_000_000


def main(arguments: list[str]) -> None:
    """Wait, then undo. arguments: the end of the lease, boot clock, ns; the verb; and what it is about."""
    ends, verb, *rest = arguments
    folder = os.open(rest[0], os.O_RDONLY | os.O_DIRECTORY) if verb == "write" else -1
    while (left := int(ends) - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) > 0:
        time.sleep(min(left / _NS, _NAP_SECONDS))
    if verb == "run":
        os.execv(rest[0], rest)  # noqa: S606  the command of an action of ours
    try:
        file = os.open(rest[1], os.O_WRONLY, dir_fd=folder)
        os.write(file, rest[2].encode())
    except OSError:
        # The container has ended, so that nothing is left to undo.
        return


class LeaseKeepers:
    """Starts and ends these processes."""

    def __init__(self, report: Callable[[str], None]) -> None:
        """Create it. report: called if one of them ended before its time."""
        # The processes themselves must not load what only this side needs.
        from subprocess import Popen  # noqa: PLC0415

        self._report = report
        self._children: list[tuple[Popen[bytes], int]] = []

    def start(self, facts: Mapping[str, object], ends: int) -> str:
        """Start a process that undoes an action; return what identifies it, empty if nothing is to be undone by it.

        Args:
            facts: what undoes the action: `write`, a folder, a file in it and a text; or `command`.
            ends: boot clock, ns.

        Raises:
            OSError: it can't be started.
        """
        from subprocess import DEVNULL, Popen  # noqa: PLC0415

        from foundation.interpreter import child_command  # noqa: PLC0415

        verb = next((each for each in ("write", "command") if isinstance(facts.get(each), list)), "")
        if not verb:
            return ""
        what = facts[verb]
        assert isinstance(what, list)  # noqa: S101
        arguments = [str(ends), "run" if verb == "command" else verb, *map(str, what)]
        child = Popen(
            [*child_command(main, FROZEN_ARGUMENT), *arguments],
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        self._children.append((child, ends))
        return f"{child.pid} {_start_ticks(child.pid)}"

    def end(self, identity: str) -> None:
        """End a process, whoever started it, if it is still there."""
        from signal import SIGKILL  # noqa: PLC0415

        from collector.actions.effect import TargetGone  # noqa: PLC0415
        from collector.actions.processes import ProcessHandle  # noqa: PLC0415

        pid, _, ticks = identity.partition(" ")
        if not pid.isdecimal():
            return
        try:
            process = ProcessHandle.open(int(pid))
        except TargetGone:
            return
        try:
            if str(process.stat().start_ticks) == ticks:
                process.send(SIGKILL)
        except TargetGone:
            pass
        finally:
            process.close()
            self.reap()

    def reap(self) -> None:
        """Collect those that have ended."""
        from signal import SIGKILL  # noqa: PLC0415

        left = []
        for child, ends in self._children:
            code = child.poll()
            if code is None:
                left.append((child, ends))
            elif code not in (0, -SIGKILL) or (code == 0 and time.clock_gettime_ns(time.CLOCK_BOOTTIME) < ends):
                self._report(
                    f"The process that ends an action by itself ended with code {code}: until the action is over, it "
                    "ends only while `lanner actions serve` runs."
                )
        self._children = left


def _start_ticks(pid: int) -> int:
    from collector.procfs.parse import parse_stat  # noqa: PLC0415
    from collector.procfs.reading import read_file  # noqa: PLC0415

    stat = parse_stat(read_file(f"/proc/{pid}/stat", 4096) or b"")
    return 0 if stat is None else stat.start_ticks
