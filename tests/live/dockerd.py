"""A Docker daemon of the tests' own: its directories, socket and processes are no other daemon's, and all of it goes.

It has no bridge and no firewall rules, so that it neither needs nor changes anything of the machine; containers use
the host's network or none.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.live.runtime import privileged_runtime

DAEMON = "/usr/sbin/dockerd"
CLIENT = "/usr/bin/docker"
"""Debian's; another client may stand before it in PATH."""
PRIVILEGED_RUNTIME = "what-is-here"
"""Starts a privileged container also where the machine lacks a capability: with those that it has."""


class NoDocker(Exception):
    """A Docker daemon can't be run on this machine; the text says why."""


class Dockerd:
    """A running daemon; use it as a context."""

    def __init__(self, data: Path | None = None) -> None:
        """Make the daemon's directory; nothing is started yet.

        data: where images and all else lie that shall still be there for the next daemon; one at a time.
        """
        for program in (DAEMON, CLIENT):
            if not os.access(program, os.X_OK):
                raise NoDocker(f"{program} is missing; install Debian's docker.io")
        if os.geteuid() != 0:
            raise NoDocker("only root can run a Docker daemon")
        # The path has to be short: the socket's name may have 107 bytes, and containerd's is longer than ours.
        self.base = Path(tempfile.mkdtemp(prefix="ld-"))
        self.socket = self.base / "docker.sock"
        self._data = data or self.base / "data"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the daemon and wait until it answers; raises NoDocker with the end of its log."""
        log = self.base / "log"
        command = [
            # The daemon ends with the tests, also where these are killed and can't end it.
            *("setpriv", "--pdeathsig", "TERM"),
            *(DAEMON, "--data-root", str(self._data), "--exec-root", str(self.base / "exec")),
            *("--host", f"unix://{self.socket}", "--pidfile", str(self.base / "pid")),
            *("--bridge=none", "--iptables=false", "--ip6tables=false"),
            *("--add-runtime", f"{PRIVILEGED_RUNTIME}={privileged_runtime(self.base)}"),
        ]
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.client("version", check=False).returncode == 0:
                return self
            time.sleep(0.1)
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        self.close()
        raise NoDocker(f"dockerd did not start: {tail}")

    def __exit__(self, *_: object) -> None:
        """End the daemon and remove everything of it."""
        self.close()

    def client(self, *arguments: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run the client with these arguments; raises CalledProcessError where it fails and check is set."""
        done = subprocess.run(
            self.client_command(*arguments),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            raise AssertionError(f"docker {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def client_command(self, *arguments: str) -> list[str]:
        """Give the command of the client with these arguments."""
        return [CLIENT, "-H", f"unix://{self.socket}", *arguments]

    def load(self, tar: Path, name: str) -> None:
        """Make an image of a tar file that holds a root directory."""
        self.client("import", str(tar), name, timeout=300)

    def close(self) -> None:
        """End the daemon by its process id, then what it left running, mounted and stored."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        for pid in _processes_that_name(self.base):
            _kill(pid)
        for mount in (*_mounts_below(self.base), *_mounts_below(self._data)):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True, timeout=30)
        shutil.rmtree(self.base, ignore_errors=True)


def _processes_that_name(base: Path) -> list[int]:
    """Find shims and containerd by their arguments, which name our directory and so can be nobody else's."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes()
        except OSError:
            continue
        if bytes(base) + b"/exec/" in arguments and int(path.parent.name) != os.getpid():
            found.append(int(path.parent.name))
    return found


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _mounts_below(base: Path) -> list[str]:
    """Give the mount points below a directory, the innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return sorted((point for point in points if point.startswith(f"{base}/")), key=len, reverse=True)
