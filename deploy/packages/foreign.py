"""Replaces what is for this machine's architecture by the same of the other one, arm64 or x86-64.

Modules in Python are the same for both. Compiled ones are from wheels of the same versions, Python's own and the
libraries that all of them need from Debian.

Usage: foreign.py SITE
       foreign.py SITE FOLDER ROOT
SITE: site-packages of an environment, which is changed if it is the only argument; FOLDER: has dist/lib and build of
what PyInstaller packed from SITE, and is changed; ROOT: what debian.sh wrote.
"""

import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib.metadata import distributions
from pathlib import Path

HERE = platform.machine()
OTHER = {"x86_64": "aarch64", "aarch64": "x86_64"}[HERE]
BOOTLOADER = {"x86_64": "intel", "aarch64": "arm"}[OTHER]
_MACHINES = {62: "x86_64", 183: "aarch64"}
"""Source: include/uapi/linux/elf-em.h."""
WITHOUT = {"faust-streaming"}
"""Distributions without wheels for arm64 whose compiled modules are optional, and faster doubles of others."""
_GLIBC = range(17, 37)
"""Minor versions of glibc 2 that wheels may need: Debian 12 has 36."""


def compiled(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield programs and libraries in a folder, and their architectures."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                head = file.read(20)
            if head.startswith(b"\x7fELF"):
                yield path, _MACHINES[int.from_bytes(head[18:20], "little")]


def fetched(target: Path, names: Iterable[str]) -> None:
    """Install distributions of the other architecture into a folder, as requirements name them."""
    platforms = [f"--platform=manylinux_2_{minor}_{OTHER}" for minor in _GLIBC] + [f"--platform=manylinux2014_{OTHER}"]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps", *platforms]
    command += ["--only-binary=:all:", f"--python-version={sys.version_info[0]}.{sys.version_info[1]}"]
    subprocess.run(
        [*command, "-c", "constraints.txt", "--target", target, *sorted(names)], check=True, stdout=sys.stderr
    )


def needed(folder: Path) -> set[str]:
    """Return the libraries that programs and libraries in a folder need."""
    files = [path for path, _ in compiled(folder)]
    shown = subprocess.run(["readelf", "-d", *files], check=True, capture_output=True, text=True)  # noqa: S607
    return set(re.findall(r"\(NEEDED\).*\[(.*)\]", shown.stdout))


def change_environment(site: Path) -> None:
    """Replace the distributions with compiled modules in an environment that runs without them."""
    native = {path for path, _ in compiled(site)}
    found = [each for each in distributions(path=[str(site)]) if native & {site / file for file in each.files or ()}]
    with tempfile.TemporaryDirectory() as place:
        names = (f"{each.name}=={each.version}" for each in found if each.name not in WITHOUT)
        fetched(Path(place), names)
        for each in found:
            for file in each.files or ():
                if site / file in native or (each.name not in WITHOUT and ".." not in file.parts):
                    (site / file).unlink(missing_ok=True)
        # Commands are the same.
        shutil.copytree(place, site, dirs_exist_ok=True, ignore=shutil.ignore_patterns("bin"))
    _check(site)


def _check(folder: Path) -> None:
    left = [path for path, machine in compiled(folder) if machine != OTHER]
    if left:
        sys.exit(f"not for {OTHER}: {', '.join(map(str, left))}")


def change_packed(site: str, folder: str, root: str) -> None:
    """Replace programs, libraries and what describes their packages in what PyInstaller packed."""
    top, packages, lib = Path(folder, "dist/lib"), Path(folder, "foreign"), Path(folder, "dist/lib/_internal")
    owners = {str(file): each for each in distributions(path=[site]) for file in each.files or ()}
    native = {str(path.relative_to(lib)): path for path, machine in compiled(lib) if machine == HERE}
    used = {owners[name].metadata["Name"]: owners[name].version for name in native if name in owners}
    fetched(packages, ["pyinstaller", *(f"{name}=={used[name]}" for name in used.keys() - WITHOUT)])
    debian = {path.name: path for path in sorted(Path(root).rglob("*")) if path.is_file()}

    brought = {path.name for path in Path(site).glob("*.libs/*")}
    for name, path in native.items():
        path.unlink()
        there = path.with_name(path.name.replace(HERE, OTHER))
        if name in owners and owners[name].metadata["Name"] not in WITHOUT:
            shutil.copy(packages / there.relative_to(lib), there)
        elif name not in owners and there.name in debian:
            shutil.copy(debian[there.name], there)
        elif name not in owners and there.name not in brought:
            sys.exit(f"{name} is neither from a package in {site} nor from one of Debian's in {root}")
    # The libraries that wheels bring along, which have hashes in their names, are beside all others.
    for path in packages.glob("*.libs/*"):
        shutil.copy(path, lib)
    for path in list(lib.rglob("*")):
        if path.is_symlink() and not path.exists():
            path.unlink()
    for about in lib.glob("*.dist-info"):
        if (packages / about.name).is_dir():
            shutil.rmtree(about)
            shutil.copytree(packages / about.name, about)
    shutil.copy(debian[f"_sysconfigdata__{OTHER}-linux-gnu.py"], lib)

    [archive] = Path(folder, "build").rglob("lanner.pkg")
    loader = packages / f"PyInstaller/bootloader/Linux-64bit-{BOOTLOADER}/run"
    # The loader searches for the archive from its own end; objcopy, which PyInstaller uses, is for one architecture.
    (top / "lanner").write_bytes(loader.read_bytes() + archive.read_bytes())

    given = set(Path(root, "var/lib/dpkg/info/libc6.list").read_text().split())
    system = {Path(name).name for name in given}
    while lacking := needed(top) - system - {path.name for path in lib.rglob("*")}:
        for name in lacking:
            shutil.copy(debian[name], lib)
    _check(top)


if __name__ == "__main__":
    change_environment(Path(sys.argv[1])) if len(sys.argv) == 2 else change_packed(*sys.argv[1:])
