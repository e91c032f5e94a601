"""Runs the program as a user does, in a process of its own.

Imports take most of a short command's time. So a server, started by the first, imports them once and forks for each
command. What only a start from nothing has (imports, their time and memory) is tested with `fresh`.
"""

import atexit
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
    *("lanner.cli.main", "lanner.dead_letters.store", "lanner.importing.falco", "lanner.recorder.store"),
    *("lanner.ruleset.editor.schema", "lanner.ruleset.triage", "lanner.tuning.backtest", "lanner.wiring.rules"),
    *("lanner.wiring.sinks.registry", "lanner.wiring.stores", "rich.console", "rich.table", "ssl"),
)
"""What commands import only when they need it. None of it starts a thread."""


def lanner(
    *arguments: str | Path, environment: dict[str, str] | None = None, cwd: Path | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run lanner to completion, in an environment without the developer's own settings."""
    variables = _variables(environment)
    with _lock:
        if not _servers:
            _servers.append(_Server())
        if _at_start(variables) == _servers[0].at_start:
            return _servers[0].run([*map(str, arguments)], variables, str(cwd or Path.cwd()), timeout)
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


def _variables(environment: dict[str, str] | None) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("LANNER")} | (environment or {})


def _at_start(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.startswith(_AT_START)}


class _Server:
    """This process's server, which ends with it: its socket is closed then."""

    def __init__(self) -> None:
        variables = _variables(None)
        self.at_start = _at_start(variables)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # Pipes, as its programs have: Python looks at its standard streams when it starts.
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
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
        request = json.dumps([arguments, variables, cwd]).encode()
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

    def _answer(self) -> int:
        answer = self._socket.recv(_REQUEST_BYTES)
        if not answer:
            raise RuntimeError(f"the server that runs lanner ended: {self._process.communicate()[1].decode()}")
        return int(answer)

    def end(self) -> None:
        """End it, whatever it does."""
        _servers.remove(self)
        atexit.unregister(self.end)
        self._socket.close()
        self._process.kill()
        self._process.communicate()


_servers: list[_Server] = []
_lock = threading.Lock()


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


def _serve(link: socket.socket) -> None:
    """Import the program, then fork for each request; return in the fork, or when nobody can ask it any longer."""
    sys.path[0] = str(_ROOT)
    commands = importlib.import_module("lanner.commands")
    found = [module.name for module in pkgutil.walk_packages(commands.__path__, "lanner.commands.")]
    for name in (*found, *_IMPORTED):
        importlib.import_module(name)
    assert threading.active_count() == 1, "a thread would be missing in forks"
    assert "confluent_kafka" not in sys.modules, "its library may start threads"
    gc.freeze()
    while True:
        request, descriptors, _, _ = socket.recv_fds(link, _REQUEST_BYTES, 2)
        if not request:
            sys.exit()
        pid = os.fork()
        if pid == 0:
            break
        for descriptor in descriptors:
            os.close(descriptor)
        link.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        link.send(str(os.waitstatus_to_exitcode(status)).encode())
    link.close()
    for descriptor, standard in zip(descriptors, (1, 2), strict=True):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    arguments, variables, cwd = json.loads(request)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()
    sys.path[0] = cwd
    sys.argv[1:] = arguments


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
    # As `python -m lanner` does; what it raises ends this process as it would end that one.
    runpy.run_module("lanner", run_name="__main__", alter_sys=True)
