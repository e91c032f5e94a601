"""A Debian root directory as a tar file, built once and cached, because no image registry is reachable from here."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from lanner.prove.image import RECIPE as GUEST_RECIPE
from lanner.prove.image import NoDebian, PackageSource, debootstrap, make_image, package_source

RECIPE = "2"
"""Increase when the content of the root directory changes, so that an old cached file isn't used."""

GUEST_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "cron", "rsyslog", "auditd", "sudo", "passwd", "procps", "psmisc", "python3"),
    *("gcc", "libc6-dev", "make", "libpam0g-dev", "rsync", "openssh-client", "openssh-server", "nmap", "iptables"),
    *("ufw", "zip", "unzip", "gpg", "gpg-agent", "lsof", "busybox", "libcap2-bin", "openssl"),
    "bind9-dnsutils",
)
"""What most of Atomic Red Team's tests need; those of `lanner prove` take twice as long to install."""


def cache_directory() -> Path:
    """Return where the tests cache what takes long to build."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lanner-tests"


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
        debootstrap(root, source)
        # Written beside its final path and renamed, so that an interrupted run leaves no partial file in the cache.
        half = target.with_suffix(f".{os.getpid()}")
        exclude = ["--exclude=./var/cache/apt/archives/*.deb", "--exclude=./var/lib/apt/lists/*_*"]
        subprocess.run(["tar", "-C", root, "-cf", half, *exclude, "."], check=True, timeout=120)
        half.rename(target)
    return target


def guest_image() -> Path:
    """Return the root directory of guests of `lanner prove`, built unless cached. Raises NoDebian."""
    recipe = hashlib.sha256(" ".join((RECIPE, GUEST_RECIPE, *GUEST_PACKAGES)).encode()).hexdigest()[:8]
    target = cache_directory() / f"guests-{recipe}"

    def begin(root: Path, _source: PackageSource) -> None:
        root.mkdir()
        subprocess.run(["tar", "-C", root, "-xf", debian_tar()], check=True, timeout=120)

    make_image(target, lambda _step: None, GUEST_PACKAGES, begin)
    return target
