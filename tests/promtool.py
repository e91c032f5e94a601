"""Prometheus's own checker of metrics and rules."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def promtool(folder: Path) -> str:
    """Return the program; Debian's package is unpacked and not installed, since that would start a daemon."""
    found = shutil.which("promtool")
    if found is not None:
        return found
    folder.mkdir(parents=True, exist_ok=True)
    got = subprocess.run(["apt-get", "download", "-q", "prometheus"], cwd=folder, check=False, capture_output=True)
    packages = list(folder.glob("*.deb"))
    if got.returncode != 0 or not packages:
        assert not os.environ.get("CI"), "CI needs promtool: the package prometheus can't be fetched"
        pytest.skip("needs promtool")
    subprocess.run(["dpkg", "-x", packages[0], folder], check=True)
    return str(folder / "usr/bin/promtool")
