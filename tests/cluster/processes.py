"""Start Lanner's commands as child processes, as an operator does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from bus.connection import Connection
from tests.unit.lanner.program import Stage, stage

ONE_IN_FLIGHT = {"max.in.flight.requests.per.connection": 1}
"""For a producer: messages stay in order, and what a broker refuses at first is sent again (see producer_config)."""
FRESH = ("-m", "lanner")
"""The program from nothing, for what looks at the process's command line."""
_SHOWN = 5000
"""Characters."""


class Running:
    """A started command."""

    def __init__(self, name: str, process: subprocess.Popen[bytes] | Stage, folder: Path) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._out, self._errors = folder / f"{name}.out", folder / f"{name}.err"

    @property
    def output(self) -> str:
        """Its standard output so far."""
        return self._out.read_text(errors="replace")

    @property
    def errors(self) -> str:
        """Its standard error so far."""
        return self._errors.read_text(errors="replace")

    def wait_for(self, text: str, timeout: float = 40) -> None:
        """Wait for a text on standard error."""
        deadline = time.monotonic() + timeout
        while text not in self.errors:
            assert self._process.poll() is None, f"{self.name} ended: {self.errors}"
            assert time.monotonic() < deadline, f"{self.name} did not say {text!r}: {self.errors}"
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self._process.kill()
        self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def stop(self, timeout: float = 30) -> int:
        """Stop the process with SIGTERM.

        Returns:
            Its exit code.
        """
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout)

    def result(self, timeout: float = 60) -> int:
        """Wait until it exits; return its exit code."""
        return self._process.wait(timeout)

    @property
    def is_alive(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None


class Processes:
    """Starts commands, and kills those that still run at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Running] = []

    def start(
        self,
        connection: Connection,
        *arguments: str | Path,
        rules: Path | None = None,
        program: Sequence[str] = (),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> Running:
        """Start `lanner ARGUMENTS` for a broker.

        program: a script with its first arguments that does the same, or FRESH; unless it is FRESH, what has imported
            the program is forked.
        """
        name = f"{len(self._started)}-{arguments[0]}"
        clean = {key: value for key, value in os.environ.items() if not key.startswith("LANNER")}
        settings = {
            "LANNER__KAFKA__BOOTSTRAP_SERVERS": connection.bootstrap_servers,
            "LANNER__KAFKA__PREFIX": connection.prefix,
            "LANNER__KAFKA__SPOOL_DIR": str(self._folder / "spool"),
            "LANNER__PUBLISHED_RULES__STATE_DIR": str(self._folder / "processor"),
            # Many run at once.
            "LANNER__HTTP__LISTEN": "off",
            # Tests repeat one action often, and look at each alert of it.
            "LANNER__REPEATED_ALERTS__ENABLED": "false",
            **_security(connection),
        }
        words = [*map(str, arguments), *(["--rules", str(rules)] if rules is not None else [])]
        variables = clean | settings | dict(environment)
        with (self._folder / f"{name}.out").open("wb") as out, (self._folder / f"{name}.err").open("wb") as errors:
            process: subprocess.Popen[bytes] | Stage
            if program == FRESH:
                process = subprocess.Popen(
                    [sys.executable, *FRESH, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=errors,
                    env=variables,
                    cwd=self._folder,
                )
            else:
                script, *first = program or ("",)
                words = [*first, *words]
                process = stage(words, variables, self._folder, out.fileno(), errors.fileno(), script=script)
        running = Running(name, process, self._folder)
        self._started.append(running)
        return running

    @property
    def started(self) -> Sequence[Running]:
        """All commands that were started, also those that ended."""
        return tuple(self._started)

    def end(self) -> None:
        """Kill the remaining processes, and print their messages, which pytest shows if the test failed."""
        for each in self._started:
            if each.is_alive:
                each.kill()
            sys.stdout.write(f"-- {each.name} --\n{each.errors[-_SHOWN:]}\n")


def _security(connection: Connection) -> dict[str, str]:
    settings = {
        name: getattr(connection, name)
        for name in ("security_protocol", "sasl_mechanism", "username", "ca_file", "certificate_file", "key_file")
    }
    given = {f"LANNER__KAFKA__{name.upper()}": value for name, value in settings.items() if value}
    return given | ({"LANNER_KAFKA_PASSWORD": connection.password} if connection.password else {})
