"""Builds the root directory of guests: a Debian with systemd and the packages that tests use."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from foundation.errors import LannerError
from lanner.prove.guest import USER

PACKAGES = (
    *(
        "systemd",
        "systemd-sysv",
        "dbus",
        "cron",
        "at",
        "rsyslog",
        "auditd",
        "sudo",
        "passwd",
        "procps",
        "psmisc",
        "kmod",
    ),
    *("python3", "python3-venv", "perl", "gcc", "libc6-dev", "make", "libpam0g-dev", "git", "curl", "wget", "rsync"),
    *(
        "openssh-server",
        "openssh-client",
        "netcat-openbsd",
        "ncat",
        "socat",
        "nmap",
        "net-tools",
        "iproute2",
        "tcpdump",
    ),
    *("dnsutils", "iptables", "ufw", "smbclient", "samba", "zip", "unzip", "gpg", "gpg-agent", "xxd", "file", "lsof"),
    *("strace", "vim", "emacs-nox", "less", "man-db", "busybox", "libcap2-bin", "ca-certificates"),
)
"""What tests of Atomic Red Team use."""
RECIPE = "2"
"""Increase when the content of the root directory changes, so that an old one isn't used."""
_MINUTES = 30
_HOMES = r"""
useradd --create-home --shell /bin/bash "$1"
echo "$1 ALL=(ALL) NOPASSWD: ALL" > "/etc/sudoers.d/$1"
for home in /root "/home/$1"; do
    mkdir -p "$home/.aws" "$home/.azure" "$home/.ssh" "$home/.gnupg" "$home/.config/gcloud"
    echo 'ls -la' > "$home/.bash_history"
    printf '[default]\naws_access_key_id = AKIAEXAMPLE\n' > "$home/.aws/credentials"
    echo '{}' > "$home/.azure/accessTokens.json"
    echo '{}' > "$home/.config/gcloud/credentials.db"
    echo 'machine example.org login guest password example' > "$home/.netrc"
    ssh-keygen -q -t ed25519 -N '' -f "$home/.ssh/id_rsa"
done
for user in root "$1"; do echo 'Subject: example' > "/var/mail/$user"; done
chown -R "$1:" "/home/$1" "/var/mail/$1"
for user in root "$1"; do echo '0 4 * * 0 true' | crontab -u "$user" -; done
# They take time at each start, and no test is about them.
systemctl --quiet disable smbd nmbd samba-ad-dc
systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer man-db.timer dpkg-db-backup.timer
"""
"""Homes in which searches for secrets find something, and fewer services."""


class NoDebian(LannerError):
    """A Debian root directory can't be built on this machine; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class PackageSource:
    """Where this machine gets Debian's packages."""

    mirror: str
    suite: str


def make_image(
    target: Path,
    on_step: Callable[[str], None],
    packages: Sequence[str] = PACKAGES,
    begin: Callable[[Path, PackageSource], None] | None = None,
) -> None:
    """Build the root directory, unless it is there; it is renamed into its place when it is complete.

    Args:
        target: the root directory.
        on_step: called before each step.
        packages: what is installed.
        begin: makes the minimal Debian; None for debootstrap.

    Raises:
        NoDebian: it can't be built.
    """
    if target.exists():
        return
    source = package_source()
    if shutil.which("debootstrap") is None:
        raise NoDebian("debootstrap is not installed")
    half = target.with_name(f"{target.name}.{os.getpid()}")
    half.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        on_step(f"Debian {source.suite}")
        (begin or debootstrap)(half, source)
        on_step(f"{len(packages)} packages")
        # Services must not start while they are installed.
        policy = half / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        shutil.copy("/etc/resolv.conf", half / "etc/resolv.conf")
        install = "apt-get install -qq -y --no-install-recommends -o DPkg::Options::=--force-unsafe-io"
        script = f"mount -t proc proc /proc && apt-get update -qq && {install} {' '.join(packages)} && apt-get clean"
        _inside(half, script, "apt-get")
        on_step("accounts")
        _inside(half, _HOMES, "the guest's accounts", USER)
        policy.unlink()
        half.rename(target)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def debootstrap(root: Path, source: PackageSource) -> None:
    """Make a minimal Debian in a folder. Raises NoDebian."""
    # In the new root, there is no other folder for temporary files.
    environment = {**os.environ, "TMPDIR": "/tmp"}  # noqa: S108
    _run(["debootstrap", "--variant=minbase", source.suite, str(root), source.mirror], "debootstrap", environment)
    _let_apt_work(root)


def _inside(root: Path, script: str, what: str, *arguments: str) -> None:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LANG": "C.UTF-8"}
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "chroot", str(root)]
    _run([*command, "sh", "-ec", script, "sh", *arguments], what, environment)


def _run(command: Sequence[str], what: str, environment: dict[str, str]) -> None:
    try:
        made = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_MINUTES * 60, check=False
        )
    except subprocess.TimeoutExpired:
        raise NoDebian(f"{what} took more than {_MINUTES} minutes") from None
    if made.returncode:
        raise NoDebian(f"{what} failed: " + "\n".join((made.stdout + made.stderr).splitlines()[-5:]))


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
