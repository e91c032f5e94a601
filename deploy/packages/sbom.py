"""Prints the SBOM of a package: of the Python packages, and of Debian's packages that packed libraries come from.

Usage: sbom.py SBOM [LIBRARIES]
"""

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

_FORMAT = "-f=${Package} ${Version} ${Architecture}\n"


def debian(libraries: Path) -> list[dict[str, Any]]:
    """Return Debian's packages that libraries in a folder are copies from."""
    folder = f"*/{platform.machine()}-linux-gnu"
    names = [f"{folder}/{each.name}" for each in sorted(libraries.glob("*.so*")) if not each.is_symlink()]
    owners = subprocess.run(["dpkg-query", "-S", *names], capture_output=True, text=True, check=False).stdout  # noqa: S607
    packages = sorted({line.partition(": ")[0] for line in owners.splitlines() if "diversion" not in line})
    shown = subprocess.run(["dpkg-query", "-W", _FORMAT, *packages], capture_output=True, text=True, check=True)  # noqa: S607
    rows = [line.split() for line in shown.stdout.splitlines()]
    purls = [f"pkg:deb/debian/{name}@{quote(version)}?arch={machine}" for name, version, machine in rows]
    return [
        {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
        for (name, version, _), purl in zip(rows, purls, strict=True)
    ]


def main(source: str, libraries: str | None = None) -> None:
    """Add Debian's packages to the SBOM of the Python environment."""
    found = json.loads(Path(source).read_text())
    if libraries:
        found["components"] += debian(Path(libraries))
    json.dump(found, sys.stdout, indent=2, sort_keys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
