"""Debian's kcat, whose librdkafka is older than the one in Lanner: what other programs of that age can do."""

import shutil
import subprocess
from pathlib import Path

from bus.connection import Connection, client_config
from tests.live.needs import lacking


def kcat(connection: Connection, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run kcat with a connection's settings, which a file passes to it: the password is not in its arguments."""
    if shutil.which("kcat") is None:
        lacking("kcat is not installed")
    file = folder / "kcat.conf"
    file.touch(0o600)
    settings = client_config(connection, "kcat").items()
    file.write_text("".join(f"{name}={value}\n" for name, value in settings if isinstance(value, str)))
    command = ["kcat", "-F", str(file), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
