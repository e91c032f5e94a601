"""A real Kafka broker as a child process."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from tests.ports import free_ports

SCRIPT = Path(__file__).parents[2] / "deploy" / "kafka" / "broker.sh"
START_SECONDS = 60
_SMALL = "log.index.size.max.bytes=131072\n"
"""Each test creates a hundred partitions; making the index files of 10 MiB takes a third of the time of that."""


class Broker:
    """One broker; its data survives a restart."""

    def __init__(self, folder: Path, *, extra: str = "") -> None:
        self.folder = folder
        self.port, self._controller = free_ports(2)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "extra.properties").write_text(_SMALL + extra)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The address for clients."""
        return f"127.0.0.1:{self.port}"

    def add_listeners(self, listeners: Mapping[str, tuple[int, int]]) -> None:
        """Add listeners; call this before the start.

        Args:
            listeners: by name, the port and the one that clients are told to come to.
        """
        names = {"PLAINTEXT": (self.port, self.port), **{name.upper(): ports for name, ports in listeners.items()}}
        inner = [f"{name}://127.0.0.1:{port}" for name, (port, _) in names.items()]
        advertised = [f"{name}://127.0.0.1:{port}" for name, (_, port) in names.items()]
        protocols = [f"{name}:PLAINTEXT" for name in (*names, "CONTROLLER")]
        with (self.folder / "extra.properties").open("a") as extra:
            extra.write(f"listeners={','.join(inner)},CONTROLLER://127.0.0.1:{self._controller}\n")
            extra.write(f"advertised.listeners={','.join(advertised)}\n")
            extra.write(f"listener.security.protocol.map={','.join(protocols)}\n")
            extra.write("inter.broker.listener.name=PLAINTEXT\n")

    @property
    def pid(self) -> int:
        """The id of its process, which is running."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> Path:
        """The file with its output."""
        return self.folder / "broker.log"

    def start(self) -> None:
        """Start the broker and wait until it is ready."""
        size = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [SCRIPT, self.folder, str(self.port), str(self._controller)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "LANNER_BROKER_HEAP": "192m"},
            )
        deadline = time.monotonic() + START_SECONDS
        while b"Kafka Server started" not in self.log.read_bytes()[size:]:
            assert self._process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.1)

    def ensure(self) -> None:
        """Start it if it was stopped, or resume it if it was suspended."""
        if self._process is None:
            self.start()
        else:
            self.resume()

    def stop(self) -> None:
        """Stop the broker cleanly."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Suspend the process: connections stay open, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume the process."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        """Stop the broker and delete its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
