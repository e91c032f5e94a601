"""The program as a user runs it: a process of its own."""

import os
import subprocess
import sys
from pathlib import Path


def lanner(
    *arguments: str | Path, environment: dict[str, str] | None = None, cwd: Path | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run lanner to its end, in an environment without settings of the developer's own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LANNER")}
    return subprocess.run(
        [sys.executable, "-m", "lanner", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env=clean | (environment or {}),
        cwd=cwd,
    )
