"""The tests' own Docker daemon: it shares no directory, socket or process with another one, and leaves nothing behind.

It has no bridge and no firewall rules, so it neither needs nor changes the machine's network; containers use the host's
network or none.
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

from tests.live.runtime import privileged_runtime, slow_runtime
from tests.roots import ROOTS

DAEMON = "/usr/sbin/dockerd"
CLIENT = "/usr/bin/docker"
"""Debian's; another client may come first in PATH."""
PRIVILEGED_RUNTIME = "what-is-here"
"""Starts a privileged container with the capabilities that the machine has, even if some are missing."""
SLOW_RUNTIME = "slow"
"""Takes seconds to report that a container has started; its processes run all the time."""


class NoDocker(Exception):
    """A Docker daemon can't run on this machine; the message gives the reason."""


class Dockerd:
    """A daemon; use it as a context manager."""

    def __init__(self, data: Path | None = None) -> None:
        """Create the daemon's directory without starting it.

        data: folder of images and other state that the next daemon reuses; one daemon at a time.
        """
        for program in (DAEMON, CLIENT):
            if not os.access(program, os.X_OK):
                raise NoDocker(f"{program} is missing; install Debian's docker.io")
        if os.geteuid() != 0:
            raise NoDocker("only root can run a Docker daemon")
        # The path has to be short: a socket's name may have 107 bytes, and containerd's is longer than ours.
        self.base = Path(tempfile.mkdtemp(prefix="ld-", dir=ROOTS))
        self.socket = self.base / "docker.sock"
        self._data = data or self.base / "data"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the daemon and wait until it responds; raises NoDocker with the end of its log."""
        log = self.base / "log"
        command = [
            # The daemon ends with the tests, even if they are killed and can't stop it.
            *("setpriv", "--pdeathsig", "TERM"),
            *(DAEMON, "--data-root", str(self._data), "--exec-root", str(self.base / "exec")),
            *("--host", f"unix://{self.socket}", "--pidfile", str(self.base / "pid")),
            *("--bridge=none", "--iptables=false", "--ip6tables=false"),
            *("--add-runtime", f"{PRIVILEGED_RUNTIME}={privileged_runtime(self.base)}"),
            *("--add-runtime", f"{SLOW_RUNTIME}={slow_runtime(self.base)}"),
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
        """Stop the daemon and remove everything of it."""
        self.close()

    def client(self, *arguments: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run the client with these arguments; raises CalledProcessError if it fails and check is set."""
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
        """Return the client's command with these arguments."""
        return [CLIENT, "-H", f"unix://{self.socket}", *arguments]

    def load(self, tar: Path, name: str) -> None:
        """Create an image from a tar file of a root directory."""
        self.client("import", str(tar), name, timeout=300)

    def close(self) -> None:
        """Stop the daemon by its process id, then remove what it left running, mounted and stored."""
        if self._process is not None:
            stop(self._process)
        end_processes_that_name(f"{self.base}/exec/")
        unmount_below(self.base)
        unmount_below(self._data)
        shutil.rmtree(self.base, ignore_errors=True)


def stop(daemon: subprocess.Popen[bytes]) -> None:
    """End a daemon that may run."""
    if daemon.poll() is None:
        daemon.terminate()
        try:
            daemon.wait(30)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait(10)


def end_processes_that_name(path: str) -> None:
    """End shims and containerd by their arguments, which contain a directory of ours and so belong to nobody else."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = file.read_bytes()
        except OSError:
            continue
        if path.encode() in arguments and int(file.parent.name) != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(file.parent.name), signal.SIGKILL)


def unmount_below(base: Path) -> None:
    """Unmount everything below a directory."""
    for mount in _mounts_below(base):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True, timeout=30)


def _mounts_below(base: Path) -> list[str]:
    """Return the mount points below a directory, the innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return sorted((point for point in points if point.startswith(f"{base}/")), key=len, reverse=True)
