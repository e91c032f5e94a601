"""Runs the program as a user does, in a process of its own.

Imports take most of a short command's time. So a server, started by the first, imports them once and forks for each
command. What only a start from nothing has (imports, their time and memory) is tested with `fresh`. Another server does
the same for stages, which run until they are stopped: a start takes 0.2 instead of 0.9 s of CPU.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_REQUEST_BYTES = 1 << 17
_AT_START = ("PYTHON", "LC_", "LANG", "LANNER_IMAGE")
"""Variables that the interpreter or a module reads once."""
_IMPORTED = (
    *("lanner.cli.app", "lanner.dead_letters", "lanner.importing.falco", "lanner.recorder.store"),
    *("lanner.ruleset.schema", "lanner.ruleset.triage", "lanner.tuning.backtest", "lanner.wiring.rules"),
    *("lanner.wiring.sinks.registry", "lanner.wiring.stores", "rich.console", "rich.table", "ssl"),
)
"""What commands import only when they need it. None of it starts a thread."""
_STAGES = tuple(
    f"lanner.wiring.stages.{each}"
    for each in ("console", "consoles", "json_intake", "kubernetes", "notifier", "processor")
)
_PR_SET_CHILD_SUBREAPER = 36


def lanner(
    *arguments: str | Path, environment: dict[str, str] | None = None, cwd: Path | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run lanner to completion, in an environment without the developer's own settings."""
    variables = _variables(environment)
    with _lock:
        server = _server()
        if _at_start(variables) == server.at_start:
            return server.run([*map(str, arguments)], variables, str(cwd or Path.cwd()), timeout)
    return fresh(*arguments, environment=environment, cwd=cwd, timeout=timeout)


def fresh(
    *arguments: str | Path, environment: dict[str, str] | None = None, cwd: Path | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Do the same by an interpreter that has imported nothing yet."""
    return subprocess.run(
        [sys.executable, "-m", "lanner", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env=_variables(environment),
        cwd=cwd,
    )


class Stage:
    """A process that a server forked: what tests use of subprocess.Popen."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        if self._code is None and (found := os.waitpid(self.pid, os.WNOHANG))[0]:
            self._code = os.waitstatus_to_exitcode(found[1])
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it exits; return its exit code."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if timeout is not None and deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"lanner, pid {self.pid}", timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.send_signal(signal.SIGKILL)


def stage(
    arguments: list[str], variables: dict[str, str], cwd: Path, out: int, errors: int, *, script: str = ""
) -> Stage | subprocess.Popen[bytes]:
    """Start a command that runs until it is stopped, as a child of this process.

    Args:
        arguments: those of lanner.
        variables: its whole environment.
        cwd: its folder.
        out: the descriptor of its standard output.
        errors: the descriptor of its standard error.
        script: the path of a program to run instead of lanner, which finds all of its modules imported.
    """
    with _lock:
        server = _server(*_STAGES)
        if _at_start(variables) == server.at_start:
            return Stage(server.start([arguments, variables, str(cwd), script], out, errors))
    command = [sys.executable, *([script] if script else ["-m", "lanner"]), *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=variables, cwd=cwd)


def _variables(environment: dict[str, str] | None) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("LANNER")} | (environment or {})


def _at_start(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.startswith(_AT_START)}


class _Server:
    """This process's server, which ends with it: its socket is closed then.

    One that gets names of modules imports these, and gives what it forks to this process.
    """

    def __init__(self, *modules: str) -> None:
        self._modules = modules
        variables = _variables(None)
        self.at_start = _at_start(variables)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # Pipes, as its programs have: Python looks at its standard streams when it starts.
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), *modules],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                env=variables,
                cwd=_ROOT,
            )
        atexit.register(self.end)

    def run(
        self, arguments: list[str], variables: dict[str, str], cwd: str, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run lanner to completion. If that fails, the server ends, and the next command starts another."""
        request = json.dumps([arguments, variables, cwd, ""]).encode()
        assert len(request) <= _REQUEST_BYTES, "too much for one message to the server"
        readers, writers = zip(*(os.pipe() for _ in range(2)), strict=True)
        pid = 0
        try:
            try:
                socket.send_fds(self._socket, [request], writers)
            finally:
                for writer in writers:
                    os.close(writer)
            pid = self._answer()
            out, errors = _read(readers, timeout, arguments)
            code = self._answer()
        except BaseException:
            if pid:
                # The server doesn't wait for it, so that the number is no other's.
                self._process.send_signal(signal.SIGSTOP)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.end()
            raise
        finally:
            for reader in readers:
                os.close(reader)
        return subprocess.CompletedProcess(["lanner", *arguments], code, out, errors)

    def start(self, what: list[list[str] | dict[str, str] | str], out: int, errors: int) -> int:
        """Start lanner, or a script, as a child of this process; return its number."""
        request = json.dumps(what).encode()
        assert len(request) <= _REQUEST_BYTES, "too much for one message to the server"
        # The server's child ends at once, and its own child becomes ours. Orphans of others still become init's.
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        assert prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
        try:
            socket.send_fds(self._socket, [request], [out, errors])
            pid = self._answer()
            assert self._answer() == 0
        except BaseException:
            self.end()
            raise
        finally:
            prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        return pid

    def _answer(self) -> int:
        answer = self._socket.recv(_REQUEST_BYTES)
        if not answer:
            raise RuntimeError(f"the server that runs lanner ended: {self._process.communicate()[1].decode()}")
        return int(answer)

    def end(self) -> None:
        """End it, whatever it does."""
        del _servers[self._modules]
        atexit.unregister(self.end)
        self._socket.close()
        self._process.kill()
        self._process.communicate()


_servers: dict[tuple[str, ...], _Server] = {}
_lock = threading.Lock()


def _server(*modules: str) -> _Server:
    """Return this process's server for these modules."""
    if modules not in _servers:
        _servers[modules] = _Server(*modules)
    return _servers[modules]


def _read(readers: tuple[int, ...], timeout: float, arguments: list[str]) -> list[str]:
    """Read both streams to their ends, as text."""
    found = {reader: bytearray() for reader in readers}
    deadline = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        for reader in readers:
            selector.register(reader, selectors.EVENT_READ)
        while selector.get_map():
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(["lanner", *arguments], timeout)
            for key, _ in selector.select(max(0, deadline - time.monotonic())):
                if more := os.read(key.fd, 1 << 16):
                    found[key.fd] += more
                else:
                    selector.unregister(key.fd)
    return [data.decode().replace("\r\n", "\n").replace("\r", "\n") for data in found.values()]


def _serve(link: socket.socket, stages: list[str]) -> str:
    """Import the program, then fork for each request; return in the fork the script to run, if it isn't the program."""
    sys.path[0] = str(_ROOT)
    commands = importlib.import_module("lanner.commands")
    found = [module.name for module in pkgutil.walk_packages(commands.__path__, "lanner.commands.")]
    for name in (*found, *(stages or _IMPORTED)):
        importlib.import_module(name)
    assert len([*Path("/proc/self/task").iterdir()]) == 1, "a thread would be missing in forks"
    gc.freeze()
    while True:
        request, descriptors, _, _ = socket.recv_fds(link, _REQUEST_BYTES, 2)
        if not request:
            sys.exit()
        pid = os.fork()
        if pid == 0:
            if stages and (pid := os.fork()):
                link.send(str(pid).encode())
                os._exit(0)
            break
        for descriptor in descriptors:
            os.close(descriptor)
        if not stages:
            link.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        link.send(str(os.waitstatus_to_exitcode(status)).encode())
    link.close()
    for descriptor, standard in zip(descriptors, (1, 2), strict=True):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    arguments, variables, cwd, script = json.loads(request)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()
    sys.path[0] = cwd
    sys.argv[1:] = arguments
    return str(script)


if __name__ == "__main__":
    # As `python -m lanner` does; what it raises ends this process as it would end that one.
    if program := _serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:]):
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module("lanner", run_name="__main__", alter_sys=True)
