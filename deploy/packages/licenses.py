"""Collects the licenses of the tarball's content: of Python packages, and of Debian's libraries and Python.

Usage: licenses.py LIBRARIES TARGET
"""

import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path


def of_packages(target: Path) -> None:
    """Copy the license files of each installed Python package; PyInstaller's covers the loader that is packed."""
    for found in distributions():
        for file in found.files or ():
            if ".dist-info" in str(file) and file.name.upper().startswith(("LICEN", "COPYING", "NOTICE", "AUTHORS")):
                folder = target / found.metadata["Name"].lower()
                folder.mkdir(exist_ok=True)
                shutil.copy(str(file.locate()), folder / file.name)


def of_libraries(libraries: Path, target: Path) -> None:
    """Copy Debian's copyright file of each package that a packed library comes from, Python's among them."""
    names = [
        f"*/x86_64-linux-gnu/{path.name}"
        for path in libraries.iterdir()
        if ".so" in path.name and not path.is_symlink()
    ]
    answer = subprocess.run(["dpkg-query", "-S", *sorted(names)], capture_output=True, text=True, check=False)  # noqa: S607
    for package in sorted({line.partition(":")[0] for line in answer.stdout.splitlines()}):
        if (copyright_file := Path("/usr/share/doc", package, "copyright")).is_file():
            shutil.copy(copyright_file, target / f"debian-{package}.txt")


def main(libraries: str, target: str) -> None:
    """Gather both."""
    of_packages(Path(target))
    of_libraries(Path(libraries), Path(target))


if __name__ == "__main__":
    main(*sys.argv[1:])
