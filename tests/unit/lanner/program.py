"""Runs the program as a user does, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path


def lanner(
    *arguments: str | Path, environment: dict[str, str] | None = None, cwd: Path | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run lanner to completion, in an environment without the developer's own settings."""
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
