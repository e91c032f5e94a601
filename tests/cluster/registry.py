"""A real schema registry on this machine, as a process of its own that is ended by its id."""

import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.cluster.broker import free_ports

SCRIPT = Path(__file__).parents[2] / "deploy" / "kafka" / "registry.sh"
START_SECONDS = 120


class SchemaRegistry:
    """One registry; it forgets everything at its end."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self._log = folder / "registry.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where Confluent's API is."""
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    def begin(self) -> None:
        """Start it; it serves some seconds later."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [SCRIPT, str(self.port)], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def wait(self) -> None:
        """Wait until it serves."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/subjects", timeout=5).close()
            except (urllib.error.URLError, OSError):
                assert self._process is not None
                assert self._process.poll() is None, self._log.read_text()[-3000:]
                assert time.monotonic() < deadline, self._log.read_text()[-3000:]
                time.sleep(0.2)
            else:
                return

    def pause(self) -> None:
        """Let it hang: connections stay, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
