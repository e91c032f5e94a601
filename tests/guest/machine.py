"""A virtual machine with Debian's kernel and cgroup version 2 alone, started from a disk image made here."""

import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.live.debian_image import cache_directory, debian_tar

ROOT = Path(__file__).parents[2]
PACKAGES = (
    *("systemd-sysv", "dbus", "apparmor", "linux-image-cloud-amd64", "python3"),
    *("podman", "conmon", "crun", "runc", "containerd", "docker.io"),
)
_SECONDS = 3000
"""Emulated in software, which is slow: it takes five minutes on two idle cores."""
_INSTALL = """
set -e
mount --bind /proc "$1/proc"
mount --bind /dev "$1/dev"
chroot "$1" apt-get update -q
DEBIAN_FRONTEND=noninteractive chroot "$1" apt-get install -q -y --no-install-recommends $2
"""
_DOCKER = '{"bridge": "none", "iptables": false, "ip6tables": false}\n'
_UNIT = "[Unit]\nAfter=multi-user.target\n[Service]\nExecStart=/opt/lanner/tests/guest/check.sh\n"


@dataclass(frozen=True, slots=True)
class Written:
    """What `check.sh` wrote: the lines of alerts, and its log."""

    alerts: list[str]
    log: str


class NoGuest(Exception):
    """No virtual machine can run here; the message gives the reason."""


def results() -> Written:
    """Run the guest from start to end, and return what `check.sh` wrote.

    Raises:
        NoGuest: a program is missing.
    """
    for program in ("qemu-system-x86_64", "mke2fs"):
        if shutil.which(program) is None:
            raise NoGuest(f"{program} is not installed")
    with tempfile.TemporaryDirectory(prefix="lanner-guest-", dir="/var/tmp") as place:
        folder = Path(place)
        root = folder / "root"
        root.mkdir()
        subprocess.run(["tar", "-C", root, "-xf", _system()], check=True)
        _add_lanner(root)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", root, folder / "disk", "6G"], check=True)
        [kernel], [initrd] = root.glob("boot/vmlinuz-*"), root.glob("boot/initrd.img-*")
        subprocess.run(
            [
                *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048"),
                *("-display", "none", "-monitor", "none", "-net", "none", "-no-reboot"),
                *("-kernel", kernel, "-initrd", initrd),
                *("-append", "root=/dev/vda rw console=ttyS0 systemd.unified_cgroup_hierarchy=1"),
                *("-drive", f"file={folder}/disk,if=virtio,format=raw"),
                *("-serial", f"file:{folder}/console", "-serial", f"file:{folder}/results"),
            ],
            check=True,
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
        )
        alerts, _, log = (folder / "results").read_text(errors="replace").partition("--- log\n")
        return Written(alerts.splitlines(), log)


def _system() -> Path:
    """Return a tar file of Debian with a kernel and container runtimes, made once."""
    base = debian_tar()
    content = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:8]
    target = cache_directory() / f"guest-{base.stem}-{content}.tar"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(prefix="lanner-guest-", dir="/var/tmp") as place:
        root = Path(place, "root")
        root.mkdir()
        subprocess.run(["tar", "-C", root, "-xf", base], check=True)
        # The mounts end with their namespace.
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _INSTALL, "sh"]
        done = subprocess.run([*command, root, " ".join(PACKAGES)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoGuest("apt-get failed: " + "\n".join((done.stdout + done.stderr).splitlines()[-5:]))
        half = target.with_suffix(".half")
        subprocess.run(["tar", "-C", root, "-cf", half, "."], check=True)
        half.rename(target)
    return target


def _add_lanner(root: Path) -> None:
    """Copy this checkout with its environment and a compiled program, and let the guest run the check."""
    at = root / "opt/lanner"
    at.mkdir(parents=True)
    copied = (
        "bus",
        "collector",
        "foundation",
        "lanner",
        "notifier",
        "processor",
        "rules",
        "schemas",
        "tests/guest",
        "pyproject.toml",
    )
    subprocess.run(["tar", "-C", at, "-x"], check=True, input=_archive(*copied))
    subprocess.run(["cp", "-a", ROOT / ".venv", at], check=True)
    # Compiled under this kernel, loaded under the guest's.
    (at / "cache").mkdir()
    subprocess.run([ROOT / ".venv/bin/lanner", "collector", "build-cache", at / "cache"], check=True)
    for file in (*at.glob(".venv/bin/*"), *at.glob(".venv/lib/*/site-packages/__editable__*")):
        text = file.read_bytes() if file.is_file() and not file.is_symlink() else b""
        if str(ROOT).encode() in text:
            file.write_bytes(text.replace(str(ROOT).encode(), b"/opt/lanner"))
    base = debian_tar()
    shutil.copy(base, root / "opt/image.tar")
    (root / "opt/rootfs").mkdir()
    subprocess.run(["tar", "-C", root / "opt/rootfs", "-xf", base], check=True)
    (root / "etc/docker").mkdir(exist_ok=True)
    (root / "etc/docker/daemon.json").write_text(_DOCKER)
    (root / "etc/machine-id").write_text("5" * 32 + "\n")
    (root / "etc/systemd/system/check.service").write_text(_UNIT)
    wanted = root / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir(exist_ok=True)
    (wanted / "check.service").symlink_to("../check.service")
    for name in ("docker.service", "docker.socket"):
        (wanted / name).unlink(missing_ok=True)


def _archive(*paths: str) -> bytes:
    return subprocess.run(
        ["tar", "-C", ROOT, "--exclude=__pycache__", "-c", *paths], check=True, capture_output=True
    ).stdout
