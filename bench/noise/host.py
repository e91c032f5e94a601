"""A Debian host with servers and tools to record, built once and cached; nothing in it needs a network."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.debian_image import cache_directory, package_source
from tests.live.ordinary_host import OrdinaryHost, ordinary_host

RECIPE = "3"
"""Increase when the content of the host changes, so that an old cached file isn't used."""
KINDS = Path(__file__).parent / "kinds"
_SETTINGS = Path(__file__).parent / "etc"
_KAFKA = Path(__file__).parents[2] / "deploy/kafka"
_PACKAGES = (
    *("cron", "openssh-server", "openssh-client", "sudo", "logrotate", "rsyslog", "man-db", "iproute2", "procps"),
    *("git", "make", "gcc", "libc6-dev", "python3-venv", "python3-setuptools", "python3-wheel", "rsync", "curl"),
    *("vim-tiny", "apt-utils", "postgresql", "nginx-light", "redis-server", "openjdk-17-jre-headless"),
    *("python3-pylsp", "nodejs", "npm", "systemd"),
    *("debootstrap", "ansible-core", "puppet-agent", "ufw", "iptables", "at", "cloud-init", "gnupg", "ca-certificates"),
    *("dpkg-dev", "debhelper", "fakeroot", "rpm", "dnf", "createrepo-c", "podman", "buildah", "crun", "zip", "unzip"),
    *("prometheus-node-exporter", "collectd-core", "monitoring-plugins-basic", "sysstat", "fail2ban", "plocate"),
    *("unattended-upgrades", "needrestart", "python3-flask", "gunicorn", "borgbackup", "restic", "lsof"),
)
_LOCAL_PACKAGES = ("hello", "figlet", "tree", "less", "nginx-light")
_MIRROR = """
apt-get update
apt-get install -y --no-install-recommends apt-utils
mkdir -p "/srv/mirror/dists/$1/main/binary-amd64" /srv/mirror/pool
cd /srv/mirror/pool
apt-get download $(dpkg-query --show --showformat='${Package}\n')
cd ..
apt-ftparchive packages pool > "dists/$1/main/binary-amd64/Packages"
cd "dists/$1"
apt-ftparchive -o "APT::FTPArchive::Release::Codename=$1" -o APT::FTPArchive::Release::Components=main \
    -o APT::FTPArchive::Release::Architectures=amd64 release . > /tmp/Release
mv /tmp/Release .
"""
"""Make a mirror for debootstrap of what a minimal Debian contains."""
_PREPARE = """
mkdir -p /srv/packages
cd /srv/packages
apt-get download "$@"
apt-ftparchive packages . > Packages
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/apt/apt.conf.d/*artifact* /var/lib/apt/lists/*
echo 'deb [trusted=yes] file:/srv/packages ./' > /etc/apt/sources.list
apt-get clean
echo example > /etc/hostname
printf '127.0.0.1 localhost example\\n' > /etc/hosts
: > /etc/resolv.conf
useradd --create-home --shell /bin/bash dev
useradd --create-home --shell /bin/bash admin
echo 'admin ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/admin
runuser -u dev -- sh -c 'mkdir -m 700 ~/.ssh; ssh-keygen -q -t ed25519 -N "" -f ~/.ssh/id_ed25519'
install -d -m 700 -o admin -g admin /home/admin/.ssh /home/admin/backups
install -m 600 -o admin -g admin /home/dev/.ssh/id_ed25519.pub /home/admin/.ssh/authorized_keys
"""


@contextmanager
def host_to_record() -> Iterator[OrdinaryHost]:
    """Unpack the host, or build it first, and remove it afterwards; raises NoDebian."""
    with ordinary_host() as host:
        tar = cache_directory() / f"noise-{package_source().suite}-{RECIPE}.tar"
        if not tar.exists():
            _build(host)
            half = tar.with_suffix(f".{os.getpid()}")
            subprocess.run(["tar", "-C", host.root, "-cf", half, "."], check=True, timeout=600)
            half.rename(tar)
        else:
            shutil.rmtree(host.root)
            host.root.mkdir()
            subprocess.run(["tar", "-C", host.root, "-xf", tar], check=True, timeout=600)
        shutil.copytree(KINDS, host.root / "usr/local/lib/ordinary")
        # Settings that an administrator has made before: making them is not part of the work.
        shutil.copytree(_SETTINGS, host.root / "etc", dirs_exist_ok=True, copy_function=shutil.copyfile)
        for unit in ("getty.target", "getty-static.service", "console-getty.service", "getty@.service"):
            (host.root / "etc/systemd/system" / unit).symlink_to("/dev/null")
        for name, home in (("deploy", "/srv/web"), ("runner", "/var/lib/runner")):
            host.run("useradd", "--create-home", "--home-dir", home, "--shell", "/bin/bash", name).check_returncode()
        yield host


def _build(host: OrdinaryHost) -> None:
    """Install everything; CalledProcessError shows what failed."""
    for command in (
        ("sh", "-ec", _MIRROR, "mirror", package_source().suite),
        ("apt-get", "install", "-y", "--no-install-recommends", *_PACKAGES),
        ("sh", "-ec", _PREPARE, "prepare", *_LOCAL_PACKAGES),
    ):
        host.run(*command, timeout=1800).check_returncode()
    jars = subprocess.run([_KAFKA / "jars.sh"], capture_output=True, text=True, check=True, timeout=600).stdout.strip()
    kafka = host.root / "opt/kafka"
    shutil.copytree(jars, kafka / "libs")
    shutil.copy(_KAFKA / "broker.sh", kafka)
    (kafka / "jars.sh").write_text("#!/bin/sh\necho /opt/kafka/libs\n")
    (kafka / "jars.sh").chmod(0o755)
