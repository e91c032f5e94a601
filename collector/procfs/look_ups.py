"""Runs blocking queries in a child process and abandons the child on a time-out.

A thread wouldn't do: a thread that waits for a FUSE server survives even SIGKILL and would keep the collector from
exiting. A blocked child is sent SIGKILL, which takes effect when its wait ends, and another child takes its place.
"""

import contextlib
import dataclasses
import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from collector.procfs.accounts import AccountFilesAnswer, AccountFilesQuery, answer_of
from collector.procfs.look_up_server import main
from foundation.interpreter import child_command

ARGUMENT = "look-up-server"
"""Argument with which a frozen program starts the server."""
TIMEOUT = 0.5
"""Seconds until a query is abandoned."""
START_TIMEOUT = 10.0
"""Seconds that a server may take to start on a busy host."""
MAX_LEFT_BEHIND = 8
"""Abandoned servers at a time; further queries fail until one of them ends."""
MAX_LEFT_BY_FILES = 4
"""Limit for queries about files. Only they block after SIGKILL, and reading command lines must stay possible."""
MAX_LISTENERS = 1024
"""Processes that listen, of which more are not looked for."""
PATIENCE = 3.0
"""Budget in seconds for waiting in vain. It refills slowly, so that nobody can stall the collector."""
PATIENCE_REGAINED = 0.02
"""Seconds refilled per second."""
IDLE_SECONDS = 60.0
"""Seconds without a query after which the server may end. It takes 10 MiB."""
_CPUCLOCK_SCHED = 2
_END_TIMEOUT = 0.5
MAX_ANSWER = 16 << 20


class LookUps:
    """Queries about processes and containers, each of which returns or fails within bounded time.

    Args:
        proc: where procfs is mounted.
        host_root: the host's root directory.
        timeout: seconds until a query is abandoned.
        blocks: whether the collector waits for the responses. Without it, no query is skipped because others took long.
        on_start: called with the pid of each server.
        on_end: likewise, before another process can get that pid.
        command: starts a server; by default this interpreter, or this frozen program.
    """

    def __init__(
        self,
        proc: Path = Path("/proc"),
        host_root: Path = Path("/proc/1/root"),
        *,
        timeout: float = TIMEOUT,
        blocks: bool = True,
        on_start: Callable[[int], None] = lambda _: None,
        on_end: Callable[[int], None] = lambda _: None,
        command: list[str] | None = None,
    ) -> None:
        self.given_up = 0
        """Queries that timed out, or were skipped because too many had timed out before."""
        self._command = [*(command or child_command(main, ARGUMENT)), str(proc), str(host_root)]
        self._timeout = timeout
        self._blocks = blocks
        self._on_start = on_start
        self._on_end = on_end
        self._server: subprocess.Popen[bytes] | None = None
        self._is_ready = self._expects_containers = False
        self._left_behind: list[subprocess.Popen[bytes]] = []
        self._patience = PATIENCE
        self._patience_at = time.monotonic()
        """When the last query began."""
        self._used_at = self._patience_at
        """When the last query began, or the server was last expected to get some."""

    @property
    def pid(self) -> int | None:
        """Pid of the running server, if any."""
        return None if self._server is None else self._server.pid

    @property
    def processor_seconds(self) -> float:
        """Processor time that the running server has taken; 0 if none runs."""
        if self._server is None:
            return 0.0
        with contextlib.suppress(OSError):
            # Source: clock_getcpuclockid(3), and MAKE_PROCESS_CPUCLOCK in the kernel's include/linux/posix-timers.h.
            return time.clock_gettime(~self._server.pid << 3 | _CPUCLOCK_SCHED)
        return 0.0

    @property
    def left_behind(self) -> int:
        """Number of abandoned servers that are still blocked."""
        self._reap()
        return len(self._left_behind)

    def start(self) -> None:
        """Start a server, if none runs, ahead of queries; the first one waits until it is ready.

        If that fails, the next query tries again.
        """
        self._used_at = time.monotonic()
        if self._server is not None and self._has_ended(self._server):
            self._leave()
        if self._server is None:
            with contextlib.suppress(OSError):
                self._server = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    bufsize=0,
                    cwd="/",
                    start_new_session=True,
                )
                self._is_ready = self._expects_containers = False
                self._on_start(self._server.pid)

    def expect_containers(self) -> None:
        """Start a server, if none runs, and let it import what the first query about a container's accounts needs.

        A short container is gone before that is done.
        """
        self.start()
        if not self._expects_containers and self._server is not None and self._server.stdin is not None:
            self._expects_containers = True
            with contextlib.suppress(OSError):
                self._server.stdin.write(b"\n")

    def _begin(self) -> None:
        """Start a server if none runs, and wait until it is ready."""
        self.start()
        if not self._is_ready:
            self._is_ready = self._answer(START_TIMEOUT) is not None
            if not self._is_ready:
                self._leave(is_killed=True)

    def memory(self, pid: int) -> tuple[bytes | None, bytes | None]:
        """Return the command line and the environment of a process; None if unknown."""
        answer = self._ask(str(pid), MAX_LEFT_BEHIND)
        if answer is None:
            return None, None
        first, second = (None if each == "-" else bytes.fromhex(each[1:]) for each in answer.decode("ascii").split())
        return first, second

    def accounts(self, question: AccountFilesQuery) -> AccountFilesAnswer | None:
        """Look up a container's accounts; None if the query was abandoned."""
        answer = self._ask_json(dataclasses.asdict(question), MAX_LEFT_BY_FILES)
        return None if answer is None else answer_of(answer)

    def json(self, path: str) -> Any:
        """Return what facts need of a JSON text that is large; None if that takes too much memory or time."""
        return self._ask_json({"json": path}, MAX_LEFT_BEHIND)

    def program(self, question: dict[str, Any]) -> Any:
        """Look up what a program's file is; the question is a ProgramQuery as a mapping. None if it was abandoned."""
        return self._ask_json({"program": question}, MAX_LEFT_BY_FILES)

    def loaded(self, pid: int) -> Any:
        """Read which files a process has loaded, as collector.procfs.loaded_files does; None if it was abandoned."""
        return self._ask_json({"loaded": pid}, MAX_LEFT_BEHIND)

    def listening(self) -> Any:
        """Return which processes listen where other machines may reach them; None if it was abandoned.

        Each is a list of process id, start in ticks, name and addresses, as collector.procfs.loaded_files has them.
        """
        return self._ask_json({"listening": MAX_LISTENERS}, MAX_LEFT_BEHIND)

    def packages(self, pid: int, paths: Sequence[str]) -> Any:
        """List the packages of a process's root and those that brought files there; None if it was abandoned.

        Args:
            pid: the process; 0 for the host's root.
            paths: absolute paths below that root.
        """
        return self._ask_json({"packages": {"pid": pid, "paths": paths}}, MAX_LEFT_BY_FILES)

    def code(self, pid: int, packages: Sequence[tuple[str, str]]) -> Any:
        """Return for each package whether all of its code must be mapped to run; None if it was abandoned.

        Args:
            pid: as for packages().
            packages: manager and name of each.
        """
        return self._ask_json({"code": {"pid": pid, "packages": packages}}, MAX_LEFT_BY_FILES)

    def end_idle(self, seconds: float) -> None:
        """End the server if for so many seconds no query came and none was expected; the next one starts another."""
        if self._left_behind:
            self._reap()
        if self._server is not None and time.monotonic() - self._used_at >= seconds:
            self._leave(is_killed=True)

    def close(self) -> None:
        """End the server, without waiting long for one that is blocked."""
        self._leave(is_killed=True)
        deadline = time.monotonic() + _END_TIMEOUT
        while self.left_behind and time.monotonic() < deadline:
            time.sleep(0.005)

    def _ask_json(self, question: dict[str, Any], may_leave: int) -> Any:
        answer = self._ask(json.dumps(question), may_leave)
        return None if answer is None else json.loads(answer)

    def _ask(self, question: str, may_leave: int) -> bytes | None:
        now = time.monotonic()
        self._patience = min(PATIENCE, self._patience + (now - self._patience_at) * PATIENCE_REGAINED)
        self._patience_at = now
        if (self._blocks and self._patience <= 0) or self.left_behind >= may_leave:
            self.given_up += 1
            return None
        answer = None
        with contextlib.suppress(OSError):
            self._begin()
            if self._server is not None and self._server.stdin is not None:
                self._server.stdin.write(question.encode() + b"\n")
                answer = self._answer(self._timeout)
        if answer is None:
            self.given_up += 1
            self._patience -= time.monotonic() - now
            self._leave(is_killed=True)
        return answer

    def _answer(self, timeout: float) -> bytes | None:
        """Read a line; None if it timed out or the server has ended."""
        if self._server is None or self._server.stdout is None:
            return None
        output = self._server.stdout.fileno()
        deadline = time.monotonic() + timeout
        waiting = select.poll()
        waiting.register(output, select.POLLIN)
        parts: list[bytes] = []
        size = 0
        while size < MAX_ANSWER and waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
            part = os.read(output, 1 << 16)
            if not part:
                return None
            parts.append(part)
            size += len(part)
            if part.endswith(b"\n"):
                return b"".join(parts)
        return None

    def _leave(self, *, is_killed: bool = False) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        if is_killed:
            server.kill()
        for pipe in (server.stdin, server.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if not self._has_ended(server):
            self._left_behind.append(server)

    def _reap(self) -> None:
        self._left_behind = [server for server in self._left_behind if not self._has_ended(server)]

    def _has_ended(self, server: subprocess.Popen[bytes]) -> bool:
        if server.returncode is None and os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
        self._on_end(server.pid)
        server.wait()
        return True
