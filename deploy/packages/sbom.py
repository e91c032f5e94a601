"""Prints an SBOM of Python packages with Debian's packages added to it.

Usage: sbom.py SBOM [LIBRARIES ROOT [IMAGE IDENTITY]]
LIBRARIES: a folder with copies of libraries from packages in ROOT; empty for all packages there. IMAGE: the container
image that it is about.
"""

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

_FORMAT = "-f=${Package} ${Version} ${Architecture}\n"


def query(root: str, *arguments: str) -> list[str]:
    """Return the lines that dpkg-query prints about the packages in a root directory."""
    command = ["dpkg-query", f"--admindir={root}/var/lib/dpkg", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


def owners(libraries: Path, root: str) -> list[str]:
    """Return the names, with the architecture, of Debian's packages that libraries in a folder are copies from."""
    machine = platform.machine() if root == "/" else {"x86_64": "aarch64", "aarch64": "x86_64"}[platform.machine()]
    folder = f"*/{machine}-linux-gnu"
    names = [f"{folder}/{path.name}" for path in libraries.iterdir() if ".so" in path.name and not path.is_symlink()]
    lines = query(root, "-S", *sorted(names))
    return sorted({line.partition(": ")[0] for line in lines if "diversion" not in line})


def debian(libraries: str, root: str) -> list[dict[str, Any]]:
    """Return a component for each of Debian's packages that libraries in a folder are copies from, or for all."""
    names = owners(Path(libraries), root) if libraries else []
    rows = [line.split() for line in query(root, "-W", _FORMAT, *names)]
    purls = [f"pkg:deb/debian/{name}@{quote(version)}?arch={machine}" for name, version, machine in rows]
    return [
        {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
        for (name, version, _), purl in zip(rows, purls, strict=True)
    ]


def main(source: str, libraries: str = "", root: str = "", image: str = "", identity: str = "") -> None:
    """Add Debian's packages to the SBOM of a Python environment, and name the image if it is one's."""
    found = json.loads(Path(source).read_text())
    if root:
        found["components"] += debian(libraries, root)
    if image:
        # A user finds the same identity by `docker image inspect`.
        about = found["metadata"]["component"]
        found["components"].append({**about, "bom-ref": "lanner"})
        found["metadata"]["component"] = {
            "type": "container",
            "bom-ref": about["bom-ref"],
            "name": image,
            "version": identity,
        }
    json.dump(found, sys.stdout, indent=2, sort_keys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
