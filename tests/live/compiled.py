"""Test programs in C, for system calls that neither commands nor Python make as needed, and the eBPF program."""

import fcntl
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from collector.bpf import build
from foundation.errors import EnvironmentUnsupported

SOURCES = Path(__file__).parent / "programs"


@cache
def bytecode() -> Path:
    """Return the folder of the compiled eBPF program: the first worker to ask compiles it, and the others wait."""
    folder = Path(sys.prefix) / "lanner-cache"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock, suppress(EnvironmentUnsupported):
        fcntl.flock(lock, fcntl.LOCK_EX)
        build.compiled(folder)
    return folder


class Programs:
    """Compiles each program on first use."""

    def __init__(self, directory: Path) -> None:
        """Take the directory for the compiled programs."""
        self._directory = directory

    def __call__(self, name: str, *, bits: int = 64, static: bool = False) -> str:
        """Return the path of a program, compiled on first use.

        Args:
            name: name of the source without `.c`.
            bits: 32 compiles a 32-bit program (gcc-multilib).
            static: links statically, for a container without libraries.

        Raises:
            AssertionError: with the compiler's messages.
        """
        target = self._directory / f"{name}-{bits}{'-static' if static else ''}"
        if not target.exists():
            flags = ["-O1", "-Wall", "-Werror", f"-m{bits}", "-pthread", *(["-static"] if static else [])]
            command = ["gcc", *flags, "-o", str(target), str(SOURCES / f"{name}.c")]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
        return str(target)
