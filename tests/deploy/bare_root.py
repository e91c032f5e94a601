"""A Debian without Python and BCC in a root directory of its own; pids, network and kernel are the host's.

Programs can write to /var/lib alone, as on hosts whose system is an image.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType


class BareRoot:
    """One unpacked root; `command` returns how to run something in it."""

    def __init__(self, folder: Path, debian: Path) -> None:
        """Unpack it into an empty folder, with files owned by root."""
        self.folder = folder
        subprocess.run(["tar", "-C", folder, "-xf", debian], check=True, timeout=120)
        for python in ("usr/bin/python3", "usr/local/bin/python3"):
            assert not (folder / python).exists(), "the bare root has a Python"

    def unpack(self, tarball: Path) -> None:
        """Unpack the tarball as its README describes."""
        subprocess.run(["tar", "-C", self.folder / "opt", "-xzf", tarball], check=True, timeout=120)

    def command(self, *command: str) -> list[str]:
        """Return the command that runs another in the root, with the same process id."""
        # Not chroot: the collector finds that its own root isn't the kernel's, and refuses to run.
        inside = (
            f"mount --make-rprivate /; mount --bind {self.folder} {self.folder}; cd {self.folder}; "
            f"mount -t tmpfs tmpfs var/lib; mount -o remount,bind,ro {self.folder}; "
            "mount -t proc proc proc; mount -t sysfs sysfs sys; pivot_root . mnt; cd /; umount -l /mnt; "
            'exec "$@"'
        )
        return ["unshare", "-m", "sh", "-ec", inside, "enter", *command]

    def run(
        self, *command: str, environment: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the root to completion."""
        return subprocess.run(
            self.command(*command),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": os.environ["PATH"], **environment},
        )
