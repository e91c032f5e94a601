"""A Debian that has neither Python nor BCC, entered by chroot: pids, network and kernel are the host's."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_MOUNTS = (("proc", "proc"), ("sysfs", "sys"))


class BareRoot:
    """One unpacked root; `command` says how to run something in it."""

    def __init__(self, folder: Path, debian: Path) -> None:
        """Unpack it into an empty folder, in a mount namespace's worth of own files."""
        self.folder = folder
        subprocess.run(["tar", "-C", folder, "-xf", debian], check=True, timeout=120)
        for python in ("usr/bin/python3", "usr/local/bin/python3"):
            assert not (folder / python).exists(), "the bare root has a Python"

    def unpack(self, tarball: Path) -> None:
        """Unpack as its README says."""
        subprocess.run(["tar", "-C", self.folder / "opt", "-xzf", tarball], check=True, timeout=120)

    def command(self, *command: str) -> list[str]:
        """Give what runs a command in there, under the same process id."""
        mounts = "".join(f"mount -t {kind} {kind} {self.folder / at}; " for kind, at in _MOUNTS)
        inside = f'mount --make-rprivate /; {mounts}exec chroot {self.folder} "$@"'
        return ["unshare", "-m", "sh", "-ec", inside, "enter", *command]

    def run(
        self, *command: str, environment: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in there to its end."""
        return subprocess.run(
            self.command(*command),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": os.environ["PATH"], **environment},
        )
