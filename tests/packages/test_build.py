"""What `make packages` writes: checksums, signatures, SBOMs, and the same bytes each time."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packages.conftest import BUILD, Packages, build, signing

pytestmark = pytest.mark.timeout(3600)


def test_another_build_gives_the_same_bytes(packages: Packages, tmp_path: Path) -> None:
    """Wheel, packages and SBOMs are the same bit for bit."""
    build(tmp_path)
    sums = [(folder / "SHA256SUMS").read_text().splitlines() for folder in (packages.folder, tmp_path)]
    assert sums[0] == sums[1]
    assert {Path(line.split()[1]).suffix for line in sums[0]} == {".whl", ".deb", ".rpm", ".json"}


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


@pytest.mark.parametrize("suffix", [".whl", ".deb", ".rpm"])
def test_each_artifact_has_an_sbom(packages: Packages, suffix: str) -> None:
    """It has the versions of the libraries; that of a package also names libraries from Debian, such as Python."""
    sbom = json.loads(Path(f"{packages.of(suffix)}.cdx.json").read_text())
    purls = " ".join(each.get("purl", "") for each in sbom["components"])
    assert sbom["bomFormat"] == "CycloneDX"
    assert sbom["metadata"]["component"]["name"] == "lanner"
    assert "pkg:pypi/confluent-kafka@" in purls
    assert ("pkg:deb/debian/libpython3.11@" in purls) == (suffix != ".whl")
