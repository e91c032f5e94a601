"""Put a copy of true into a file that exists only in memory, and become it."""

import os
import shutil
from pathlib import Path


def main() -> None:
    """Become a program that no disk holds; it ends at once."""
    memory = os.memfd_create("lanner-demo", os.MFD_CLOEXEC)
    os.write(memory, Path(shutil.which("true") or "/bin/true").read_bytes())
    os.execve(f"/proc/self/fd/{memory}", ["lanner-demo"], {})  # noqa: S606 - becoming it is the act


if __name__ == "__main__":
    main()
