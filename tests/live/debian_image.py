"""A Debian root directory as a tar file, built once and cached, because no image registry is reachable from here."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

RECIPE = "2"
"""Increase when the content of the root directory changes, so that an old cached file isn't used."""


@dataclass(frozen=True, slots=True)
class PackageSource:
    """Where this machine gets Debian's packages."""

    mirror: str
    suite: str


class NoDebian(Exception):
    """A Debian root directory can't be built on this machine; the message gives the reason."""


def cache_directory() -> Path:
    """Return where the tests cache what takes long to build."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lanner-tests"


def package_source(etc: Path = Path("/etc")) -> PackageSource:
    """Read mirror and suite from apt's settings, in deb822 format or the one-line format.

    Raises:
        NoDebian: there are none.

    Source: sources.list(5).
    """
    codename = _codename(etc)
    for path in sorted((etc / "apt/sources.list.d").glob("*.sources")):
        for stanza in path.read_text().split("\n\n"):
            fields = dict(line.split(":", 1) for line in stanza.splitlines() if ":" in line and line[:1].isalpha())
            suites = fields.get("Suites", "").split()
            if codename in suites and "main" in fields.get("Components", "").split():
                return PackageSource(fields["URIs"].split()[0], codename)
    lists = [etc / "apt/sources.list", *sorted((etc / "apt/sources.list.d").glob("*.list"))]
    for path in filter(Path.exists, lists):
        for line in path.read_text().splitlines():
            words = [word for word in line.split() if not word.startswith(("[", "signed-by="))]
            if words[:1] == ["deb"] and words[2:3] == [codename] and "main" in words[3:]:
                return PackageSource(words[1], codename)
    raise NoDebian(f"apt's settings in {etc}/apt name no source of Debian {codename}")


def _codename(etc: Path) -> str:
    for line in (etc / "os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise NoDebian(f"{etc}/os-release names no release of Debian")


def debian_tar() -> Path:
    """Return the tar file of a minimal Debian, built by debootstrap unless cached.

    Raises:
        NoDebian: it can't be built.
    """
    source = package_source()
    target = cache_directory() / f"debian-{source.suite}-{RECIPE}.tar"
    if target.exists():
        return target
    if shutil.which("debootstrap") is None:
        raise NoDebian("debootstrap is not installed")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lanner-debootstrap-") as directory:
        root = Path(directory, "root")
        command = ["debootstrap", "--variant=minbase", source.suite, str(root), source.mirror]
        # In the new root, there is no other folder for temporary files.
        environment = {**os.environ, "TMPDIR": "/tmp"}
        made = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
        if made.returncode:
            raise NoDebian("debootstrap failed: " + "\n".join((made.stdout + made.stderr).splitlines()[-5:]))
        _let_apt_work(root)
        # Written beside its final path and renamed, so that an interrupted run leaves no partial file in the cache.
        half = target.with_suffix(f".{os.getpid()}")
        exclude = ["--exclude=./var/cache/apt/archives/*.deb", "--exclude=./var/lib/apt/lists/*_*"]
        subprocess.run(["tar", "-C", root, "-cf", half, *exclude, "."], check=True, timeout=120)
        half.rename(target)
    return target


def _let_apt_work(root: Path) -> None:
    """Copy the host's sources, apt settings and certificates, which a proxy in front of the mirror may require."""
    apt = Path("/etc/apt")
    for path in [*apt.glob("apt.conf"), *apt.glob("apt.conf.d/*")]:
        if "Acquire::" in path.read_text(errors="replace"):
            shutil.copy(path, root / path.relative_to("/"))
    certificates = Path("/etc/ssl/certs/ca-certificates.crt")
    if certificates.exists():
        # The second location survives an installation of ca-certificates, which rewrites the first.
        for folder in (root / "etc/ssl/certs", root / "usr/local/share/ca-certificates"):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(certificates, folder)
