"""A machine of its own under systemd, in namespaces: the host's files beneath, its own processes and writable layer.

systemd wants to be process 1, so it gets a pid namespace; that is why the collector, which wants the host's, can't be
had in it. The network is the host's.
"""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

_HIERARCHIES = ("systemd", "unified")
_BOOT = r"""
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"; cd "$1"; mkdir up work root
mount -t overlay overlay -o lowerdir="$3",upperdir=up,workdir=work root
cd root
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
if [ -d /sys/fs/cgroup/systemd ]; then
    mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
    mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
else
    mount -t cgroup2 cgroup2 sys/fs/cgroup
fi
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount --rbind /dev dev
: >etc/fstab
rm -rf etc/systemd/system/*.wants etc/lanner usr/local/bin/lanner
if [ -n "$2" ]; then
    mkdir -p usr/local/bin opt/checkout etc/lanner
    mount --bind "$2" opt/checkout
    printf '#!/bin/sh\nPYTHONPATH=/opt/checkout exec /opt/checkout/.venv/bin/python -m lanner "$@"\n' \
        >usr/local/bin/lanner
    chmod 755 usr/local/bin/lanner
    cp opt/checkout/deploy/systemd/*.service etc/systemd/system/
fi
printf '[Unit]\nRequires=basic.target\n' >etc/systemd/system/machine.target
# Not chroot, in which the kernel allows no user namespaces.
mkdir mnt/before; pivot_root . mnt/before
umount -l /mnt/before
container=lxc exec /lib/systemd/systemd --system --unit=machine.target
"""


class Machine:
    """A booted machine; stop it after use."""

    def __init__(self, folder: Path, checkout: Path | None, beneath: str = "/") -> None:
        """Boot it.

        Args:
            folder: an empty folder that is its place to mount.
            checkout: with its .venv; it is /opt/checkout in there, and /usr/local/bin/lanner runs it.
            beneath: root directories below its writable layer, the first on top, joined by colons.
        """
        self._group = f"lanner-test-{os.getpid()}"
        self._groups = [Path("/sys/fs/cgroup", name) for name in _HIERARCHIES if Path("/sys/fs/cgroup", name).is_dir()]
        self._groups = self._groups or [Path("/sys/fs/cgroup")]
        for group in self._groups:
            (group / self._group).mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            ["unshare", "-mpfCiu", "--kill-child", "bash", "-c", _BOOT, "boot", folder, checkout or "", beneath],
            preexec_fn=self._enter,  # noqa: PLW1509  (no threads run yet that hold locks)
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        self.wait_until(lambda: self("systemctl", "is-active", "machine.target").stdout.strip() == "active", 60)

    def _enter(self) -> None:
        for group in self._groups:
            (group / self._group / "cgroup.procs").write_text(str(os.getpid()))

    def __call__(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        assert self._process.poll() is None, (self._process.stderr or open(os.devnull, "rb")).read()  # noqa: PTH123, SIM115
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not children:
            return subprocess.CompletedProcess(command, 1, "", "not booted yet")
        entered = ["nsenter", "-t", children[0], "-m", "-p", "-C", "-i", "-u", "-r", "-w", *command]
        return subprocess.run(entered, capture_output=True, text=True, timeout=90, check=False)

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """Write a file in it."""
        script = 'mkdir -p "$(dirname "$1")" && printf %s "$2" >"$1" && chmod "$3" "$1"'
        done = self("sh", "-c", script, "write", path, text, mode)
        assert done.returncode == 0, done.stderr

    def journal(self, unit: str) -> str:
        """Return the journal of a unit."""
        return self("journalctl", "--no-pager", "-o", "cat", "-u", unit).stdout

    def wait_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait, with a limit."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self("systemctl", "list-jobs", "--no-pager").stdout
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop it with all its processes; --kill-child kills its process 1."""
        self._process.kill()
        self._process.wait()
        deadline = time.monotonic() + 10
        for group in self._groups:
            for each in [*sorted((group / self._group).rglob("*/"), reverse=True), group / self._group]:
                while each.is_dir() and time.monotonic() < deadline:
                    try:
                        each.rmdir()
                    except OSError:
                        time.sleep(0.05)
