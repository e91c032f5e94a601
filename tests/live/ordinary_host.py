"""A Debian host to work on as root without changing this one: its own root directory in its own mount namespace.

It is no container to the kernel or to Lanner: its processes look as if they ran on the host.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.debian_image import debian_tar

ENTER = """
set -e
mount --bind "$1" "$1"
cd "$1"
mkdir -p old
pivot_root . old
mount -t proc none /proc
umount --lazy /old
mount -t devpts none /dev/pts -o newinstance,ptmxmode=0666 2> /dev/null || true
shift
exec "$@"
"""
QUIET = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "DEBIAN_FRONTEND": "noninteractive",
    "LANG": "C.UTF-8",
    "HOME": "/root",
}
PACKAGES = ("cron", "openssh-server", "openssh-client", "sudo", "logrotate", "rsyslog", "man-db")


class OrdinaryHost:
    """A root directory and the commands run in it."""

    def __init__(self, root: Path) -> None:
        """Take a directory that contains a Debian."""
        self.root = root

    def command(self, *command: str) -> list[str]:
        """Return the command line that runs a command there."""
        # In a pid namespace nothing that a command leaves running outlives it.
        enter = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
        return [*enter, "sh", "-c", ENTER, "enter", str(self.root), *command]

    def run(self, *command: str, timeout: float = 240, sent: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command there to its end."""
        return subprocess.run(
            self.command(*command), input=sent, capture_output=True, text=True, env=QUIET, timeout=timeout, check=False
        )

    @contextmanager
    def daemon(self, *command: str) -> Iterator[None]:
        """Keep a program running there until the end of the block."""
        with subprocess.Popen(
            self.command(*command),
            env=QUIET,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                yield
            finally:
                process.kill()  # unshare ignores SIGTERM while its child runs

    def install(self) -> bool:
        """Install servers and tools by apt-get, with maintainer scripts; return False if there is no network."""
        if self.run("apt-get", "update").returncode:
            return False
        done = self.run("apt-get", "install", "-y", "--no-install-recommends", *PACKAGES)
        return done.returncode == 0


@contextmanager
def ordinary_host() -> Iterator[OrdinaryHost]:
    """Unpack a Debian and remove it afterwards; raises NoDebian."""
    directory = Path(tempfile.mkdtemp(prefix="lanner-host-"))
    try:
        subprocess.run(["tar", "-C", directory, "-xf", debian_tar()], check=True, timeout=120)
        shutil.copy("/etc/resolv.conf", directory / "etc/resolv.conf")
        policy = directory / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")  # no maintainer script starts a daemon that nobody would stop
        policy.chmod(0o755)
        (directory / "dev/pts").mkdir(exist_ok=True)
        yield OrdinaryHost(directory)
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", directory], check=False)
