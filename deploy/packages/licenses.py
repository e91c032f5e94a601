"""Collects the licenses of what is packed: of Python packages, and of Debian's libraries and Python.

Usage: licenses.py LIBRARIES TARGET [ROOT]
LIBRARIES and ROOT are those of sbom.py.
"""

import shutil
import sys
from importlib.metadata import distributions
from pathlib import Path

from sbom import owners


def of_packages(target: Path) -> None:
    """Copy the license files of each installed Python package; PyInstaller's covers the loader that is packed."""
    for found in distributions():
        for file in found.files or ():
            if ".dist-info" in str(file) and file.name.upper().startswith(("LICEN", "COPYING", "NOTICE", "AUTHORS")):
                folder = target / found.metadata["Name"].lower()
                folder.mkdir(exist_ok=True)
                shutil.copy(str(file.locate()), folder / file.name)


def of_libraries(libraries: Path, target: Path, root: str) -> None:
    """Copy Debian's copyright file of each package that a packed library comes from, Python's among them."""
    for package in {name.partition(":")[0] for name in owners(libraries, root)}:
        if (copyright_file := Path(root, "usr/share/doc", package, "copyright")).is_file():
            shutil.copy(copyright_file, target / f"debian-{package}.txt")


def main(libraries: str, target: str, root: str = "/") -> None:
    """Gather both."""
    of_packages(Path(target))
    of_libraries(Path(libraries), Path(target), root)


if __name__ == "__main__":
    main(*sys.argv[1:])
