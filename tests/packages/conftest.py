"""Tests of packages: `make test-packages` sets LANNER_PACKAGES; without it they aren't collected at all."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lanner.prove.image import package_source
from tests.cluster.conftest import broker, connection, processes
from tests.deploy.machine import Machine
from tests.live.debian_image import cache_directory
from tests.live.needs import lacking

__all__ = ["broker", "connection", "processes"]

collect_ignore_glob = [] if os.environ.get("LANNER_PACKAGES") else ["test_*.py"]

BUILD = Path("deploy/packages")
BOOTED = "systemd,systemd-sysv,dbus,procps,rpm"


@dataclass(frozen=True, slots=True)
class Packages:
    """What `make packages` wrote, and packages of the next version."""

    folder: Path
    new: Path
    """A .deb and a .rpm of the version 9.0.0, signed, whose settings file has another line at its end."""
    key: Path
    public_key: Path

    def of(self, suffix: str, *, new: bool = False) -> Path:
        """Return a package by its suffix."""
        [found] = (self.new if new else self.folder).glob(f"lanner*{suffix}")
        return found


def signing(key: Path | str = "", architecture: str = "amd64") -> dict[str, str]:
    """Return the environment of a build for an architecture that signs by a key, or doesn't."""
    return {**os.environ, "LANNER_SIGNING_KEY": str(key), "ARCH": architecture}


def build(folder: Path, architecture: str = "amd64") -> None:
    """Build packages and tarball without signing."""
    for artifacts in ("packages", "tarball"):
        command = [BUILD / "build.sh", artifacts, folder]
        environment = signing(architecture=architecture)
        built = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800, check=False)
        assert built.returncode == 0, built.stderr


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Build the packages, or take $LANNER_PACKAGES if it is a folder of them; make the next version of them."""
    if os.geteuid() != 0 or shutil.which("go") is None:
        lacking("needs root and Go")
    folder = Path(os.environ["LANNER_PACKAGES"])
    if not folder.is_dir():
        folder = tmp_path_factory.mktemp("packages")
        build(folder)
    work, new = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("new")
    made = Packages(folder, new, work / "key.asc", work / "public.asc")
    home = ["gpg", "--homedir", tmp_path_factory.mktemp("gnupg"), "--batch", "--armor", "--passphrase", ""]
    subprocess.run([*home, "--quick-generate-key", "Lanner test", "rsa3072", "sign"], check=True, timeout=120)
    subprocess.run([*home, "--output", made.key, "--export-secret-keys"], check=True, timeout=60)
    subprocess.run([*home, "--output", made.public_key, "--export"], check=True, timeout=60)
    root = work / "root"
    subprocess.run(["dpkg-deb", "-x", made.of(".deb"), root], check=True, timeout=120)
    for name in ("installed.sh", "removing.sh", "removed.sh"):
        shutil.copy(BUILD / name, work)
    settings = (root / "etc/lanner/lanner.yaml").read_text()
    shutil.rmtree(root / "etc")
    (work / "lanner.yaml").write_text(f"{settings}# of the next version\n")
    (root / "usr/share/zsh/vendor-completions/_lanner").rename(work / "completion.zsh")
    shutil.rmtree(root / "usr/share/zsh")
    variables = {"ARCHITECTURE": "amd64", "VERSION": "9.0.0", "GLIBC": "2.36"}
    environment = {**signing(made.key), **{f"LANNER_{name}": value for name, value in variables.items()}}
    version = re.search(r"NFPM=(\S+)", (BUILD / "build.sh").read_text())
    assert version is not None
    nfpm = cache_directory().with_name("lanner-packages") / f"nfpm-{version[1]}/nfpm"
    for packager in ("deb", "rpm"):
        command = [nfpm, "package", "-f", (BUILD / "nfpm.yaml").resolve(), "-p", packager, "-t", new]
        subprocess.run(command, cwd=work, env=environment, check=True, timeout=600)
    return made


@pytest.fixture(scope="session", params=["bookworm", "trixie"])
def debian(request: pytest.FixtureRequest) -> Path:
    """Return a Debian with systemd, 12 and 13; built once."""
    target = cache_directory() / f"booted-{request.param}"
    if not target.exists():
        half = target.with_suffix(f".{os.getpid()}")
        options = ["--variant=minbase", f"--include={BOOTED}"]
        command = ["debootstrap", *options, request.param, half, package_source().mirror]
        subprocess.run(command, check=True, timeout=1800, env={"PATH": os.environ["PATH"], "TMPDIR": "/tmp"})
        half.rename(target)
    return target


def booted(debian: Path, packages: Packages, suffix: str, folder: Path) -> Iterator[Machine]:
    """Boot a root; in /opt are the packages with a suffix, now and new, and the key that signed the newer one."""
    top, own = folder / "top", folder / "machine"
    for path in (top / "opt", own):
        path.mkdir(parents=True)
    shutil.copy(packages.of(suffix), top / f"opt/now{suffix}")
    shutil.copy(packages.of(suffix, new=True), top / f"opt/new{suffix}")
    shutil.copy(packages.public_key, top / "opt/key.asc")
    made = Machine(own, None, f"{top}:{debian}")
    yield made
    made.stop()
