"""What `make packages` writes: checksums, signatures, SBOMs, and the same bytes each time."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packages.conftest import BUILD, Packages, build, signing

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def arm64(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of packages for arm64."""
    folder = tmp_path_factory.mktemp("arm64")
    build(folder, "arm64")
    return folder


def sums(folder: Path) -> dict[str, str]:
    """Return the digests of what a build wrote, by name."""
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    return {line.split()[1]: line.split()[0] for line in lines}


def test_another_build_gives_the_same_bytes(packages: Packages, arm64: Path, tmp_path: Path) -> None:
    """Wheel, packages, tarball and SBOMs are the same bit for bit, and the wheel is that of the other architecture."""
    again = {architecture: tmp_path / architecture for architecture in ("amd64", "arm64")}
    for architecture, folder in again.items():
        build(folder, architecture)
    assert sums(packages.folder) == sums(again["amd64"])
    assert sums(arm64) == sums(again["arm64"])
    [wheel] = sums(arm64).keys() & sums(packages.folder).keys() - {each for each in sums(arm64) if "cdx" in each}
    assert sums(arm64)[wheel] == sums(packages.folder)[wheel]
    assert {Path(name).suffix for name in sums(arm64)} == {".whl", ".deb", ".rpm", ".gz", ".json"}


def test_packages_for_arm64_have_its_python_and_libraries(packages: Packages, arm64: Path, tmp_path: Path) -> None:
    """They have the files that those for x86-64 have, but for optional modules, and each program is for arm64."""
    [package] = arm64.glob("*_arm64.deb")
    subprocess.run(["dpkg-deb", "-x", package, tmp_path / "arm64"], check=True, timeout=120)
    subprocess.run(["dpkg-deb", "-x", packages.of(".deb"), tmp_path / "amd64"], check=True, timeout=120)
    found = {}
    for root in (tmp_path / "amd64", tmp_path / "arm64"):
        names = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        programs = {path for path in names if path.read_bytes()[:4] == b"\x7fELF"}
        found[root.name] = {
            re.sub("x86_64|aarch64", "MACHINE", re.sub("-[0-9a-f]{8}", "", str(path.relative_to(root))))
            for path in programs
        }
        assert {path.read_bytes()[18] for path in programs} == {62 if root.name == "amd64" else 183}
    assert {name for name in found["amd64"] ^ found["arm64"] if "_cython" not in name} == set()
    sbom = json.loads(Path(f"{package}.cdx.json").read_text())
    assert any("libpython3.11@" in each.get("purl", "") and "arm64" in each["purl"] for each in sbom["components"])


def test_checksums_are_signed(packages: Packages, tmp_path: Path) -> None:
    """The commands of docs/installing.md find a changed file."""
    folder = tmp_path / "downloads"
    shutil.copytree(packages.new, folder)
    subprocess.run([BUILD / "build.sh", "sums", folder], env=signing(packages.key), check=True, timeout=60)
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", home, "--batch"]
    subprocess.run([*gpg, "--import", packages.public_key], check=True, timeout=60)
    subprocess.run([*gpg, "--verify", folder / "SHA256SUMS.asc", folder / "SHA256SUMS"], check=True, timeout=60)
    check = ["sha256sum", "--check", "--ignore-missing", "--strict", "SHA256SUMS"]
    assert subprocess.run(check, cwd=folder, check=False).returncode == 0
    with next(folder.glob("*.deb")).open("ab") as file:
        file.write(b"x")
    assert subprocess.run(check, cwd=folder, check=False).returncode == 1
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=True, timeout=60)


@pytest.mark.parametrize("suffix", [".whl", ".deb", ".rpm", ".tar.gz"])
def test_each_artifact_has_an_sbom(packages: Packages, suffix: str) -> None:
    """It has the versions of the libraries; that of a package also names libraries from Debian, such as Python."""
    sbom = json.loads(Path(f"{packages.of(suffix)}.cdx.json").read_text())
    purls = " ".join(each.get("purl", "") for each in sbom["components"])
    assert sbom["bomFormat"] == "CycloneDX"
    assert sbom["metadata"]["component"]["name"] == "lanner"
    assert "pkg:pypi/confluent-kafka@" in purls
    assert ("pkg:deb/debian/libpython3.11@" in purls) == (suffix != ".whl")
