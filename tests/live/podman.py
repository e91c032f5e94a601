"""The tests' own Podman storage, which shares no directory with another one. Podman has no daemon."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.containers import write_busybox_tar
from tests.live.dockerd import unmount_below
from tests.roots import ROOTS

PROGRAM = "/usr/bin/podman"
BUSYBOX = "localhost/lanner-busybox:1.35"


class NoPodman(Exception):
    """Podman can't run on this machine; the message gives the reason."""


class Podman:
    """Podman with one image; close it at the end."""

    def __init__(self) -> None:
        """Import the image; raises NoPodman."""
        if not os.access(PROGRAM, os.X_OK):
            raise NoPodman(f"{PROGRAM} is missing; install Debian's podman")
        self.base = Path(tempfile.mkdtemp(prefix="lp-", dir=ROOTS))
        tar = self.base / "busybox.tar"
        write_busybox_tar(tar)
        done = self._call("import", str(tar), BUSYBOX)
        if done.returncode:
            self.close()
            raise NoPodman(done.stderr.strip())

    def run_command(self, name: str, *command: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the command that runs a container to its end."""
        # This machine may forbid raising limits, which Podman does by default.
        limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
        return self._command("run", "--rm", "--name", name, "--network", "host", *limits, *options, BUSYBOX, *command)

    @contextmanager
    def socket(self) -> Iterator[Path]:
        """Serve Docker's API on a socket until the end of the block; yield its path."""
        path = self.base / "podman.sock"
        service = self._command("system", "service", "--time", "0", f"unix://{path}")
        with subprocess.Popen(service, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
            try:
                deadline = time.monotonic() + 20
                while not path.is_socket():
                    assert time.monotonic() < deadline, "podman system service did not start"
                    time.sleep(0.05)
                yield path
            finally:
                running.kill()

    def close(self) -> None:
        """Remove all containers and the storage."""
        self._call("rm", "--all", "--force", "--time", "0")
        unmount_below(self.base)
        shutil.rmtree(self.base, ignore_errors=True)

    def _command(self, *arguments: str) -> list[str]:
        folders = ("--root", str(self.base / "root"), "--runroot", str(self.base / "run"))
        fixed = ("--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file")
        return [PROGRAM, *folders, *fixed, "--runtime", "runc", *arguments]

    def _call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._command(*arguments), capture_output=True, text=True, timeout=60, check=False)
