"""Test programs in C, for what neither a command nor Python does as it has to be done."""

import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent / "programs"


class Programs:
    """Compiles a program when it is first asked for."""

    def __init__(self, directory: Path) -> None:
        """Take the directory for what is made."""
        self._directory = directory

    def __call__(self, name: str, *, bits: int = 64, static: bool = False) -> str:
        """Give the path of a program.

        Args:
            name: of the source without `.c`.
            bits: 32 makes a 32-bit program (gcc-multilib).
            static: makes one that needs no libraries, for a container that has none.

        Raises: AssertionError with the compiler's messages.
        """
        target = self._directory / f"{name}-{bits}{'-static' if static else ''}"
        if not target.exists():
            flags = ["-O1", "-Wall", "-Werror", f"-m{bits}", "-pthread", *(["-static"] if static else [])]
            command = ["gcc", *flags, "-o", str(target), str(SOURCES / f"{name}.c")]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
        return str(target)
