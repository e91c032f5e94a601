"""Virtual machines with kernels of Debian; one has cgroup version 2 alone, and a disk image made here."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.live.debian_image import cache_directory, debian_tar

ROOT = Path(__file__).parents[2]
PACKAGES = (
    *("systemd-sysv", "dbus", "apparmor", "linux-image-cloud-amd64", "python3"),
    *("podman", "conmon", "crun", "runc", "containerd", "docker.io"),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """How qemu emulates an architecture."""

    program: str
    options: tuple[str, ...]
    console: str
    """The kernel's name of the first serial port."""


MACHINES = {
    "amd64": Machine("qemu-system-x86_64", ("-cpu", "max"), "ttyS0"),
    # The algorithm of real processors for signed pointers takes half of all time in emulation.
    "arm64": Machine("qemu-system-aarch64", ("-M", "virt", "-cpu", "max,pauth-impdef=on"), "ttyAMA0"),
}
"""By Debian's name of the architecture."""
ARM32_PACKAGES = ("busybox-static", "linux-libc-dev")
ARM64_PACKAGES = (
    "linux-image-cloud-arm64",
    "python3",
    "bash",
    "coreutils",
    "curl",
    "mount",
    "findutils",
    "grep",
    "procps",
    "sed",
    "util-linux",
    "iproute2",
    "libstdc++6",
)
_PACKAGES = ("bus", "collector", "foundation", "lanner", "notifier", "processor", "rules", "schemas")
_ONLY_FOR_TESTS = ("playwright*", "atheris*", "*fuzzer*", "mypy*", "*__mypyc*", "babel*", "material*", "lanner-cache")
"""Half of what the environment takes on disk."""
_ACCOUNTS = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "group": "root:x:0:\nnogroup:x:65534:\n",
    "shadow": "root:*:20000:0:99999:7:::\n",
}
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
    require("mke2fs", MACHINES["amd64"].program)
    with tempfile.TemporaryDirectory(prefix="lanner-guest-", dir="/var/tmp") as place:
        folder = Path(place)
        root = folder / "root"
        root.mkdir()
        subprocess.run(["tar", "-C", root, "-xf", system(PACKAGES)], check=True)
        _add_lanner(root)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", root, folder / "disk", "6G"], check=True)
        [kernel], [initrd] = root.glob("boot/vmlinuz-*"), root.glob("boot/initrd.img-*")
        disk, ports = f"file={folder}/disk,if=virtio,format=raw", (f"file:{folder}/console", f"file:{folder}/results")
        append = "root=/dev/vda rw systemd.unified_cgroup_hierarchy=1"
        boot("amd64", kernel, initrd, append, "-m", "2048", "-drive", disk, "-serial", ports[0], "-serial", ports[1])
        alerts, _, log = (folder / "results").read_text(errors="replace").partition("--- log\n")
        return Written(alerts.splitlines(), log)


def require(*programs: str) -> None:
    """Raise NoGuest if a program isn't installed."""
    for program in programs:
        if shutil.which(program) is None:
            raise NoGuest(f"{program} is not installed")


def boot(architecture: str, kernel: Path, initrd: Path, append: str, *options: str, seconds: int = _SECONDS) -> None:
    """Run a kernel until it powers off or panics.

    Args:
        architecture: Debian's name for it.
        kernel: its image.
        initrd: its initial file system.
        append: further words of its command line.
        options: of qemu, such as memory, disks and serial ports; the first of these is the console.
        seconds: time limit.
    """
    machine = MACHINES[architecture]
    command = [machine.program, *machine.options, "-accel", "tcg,thread=multi", "-smp", "2", *options]
    command += ["-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot", "-kernel", kernel]
    command += ["-initrd", initrd, "-append", f"console={machine.console} panic=-1 {append}"]
    subprocess.run(command, check=True, timeout=seconds, stdin=subprocess.DEVNULL)


def unpacked(architecture: str, packages: Sequence[str]) -> Path:
    """Return a folder with the files of packages and of all that they need; nothing is installed in it.

    Args:
        architecture: Debian's name for it, which may not be this machine's.
        packages: their names.

    Raises:
        NoGuest: they can't be downloaded.
    """
    name = hashlib.sha256(" ".join((architecture, *packages)).encode()).hexdigest()[:8]
    target = cache_directory() / f"unpacked-{architecture}-{name}"
    if target.exists():
        return target
    command = [ROOT / "deploy/setup/debian.sh", architecture, target, *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoGuest("apt-get failed: " + "\n".join(done.stderr.splitlines()[-5:]))
    return target


def archive(target: Path, *roots: Path, exclude: Sequence[str] = ()) -> None:
    """Write an initial file system that consists of folders, of which later ones come on top."""
    with target.open("wb") as file:
        for root in roots:
            names = subprocess.run(
                ["find", ".", *(word for each in exclude for word in ("-path", each, "-prune", "-o")), "-print0"],
                cwd=root,
                check=True,
                capture_output=True,
            ).stdout
            command = ["cpio", "--null", "--create", "--quiet", "--format=newc", "--owner=+0:+0"]
            subprocess.run(command, cwd=root, input=names, stdout=file, check=True)


def system(packages: Sequence[str]) -> Path:
    """Return a tar file of Debian with more packages, made once."""
    base = debian_tar()
    content = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:8]
    target = cache_directory() / f"guest-{base.stem}-{content}.tar"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(prefix="lanner-guest-", dir="/var/tmp") as place:
        root = Path(place, "root")
        root.mkdir()
        subprocess.run(["tar", "-C", root, "-xf", base], check=True)
        # The mounts end with their namespace.
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _INSTALL, "sh"]
        done = subprocess.run([*command, root, " ".join(packages)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoGuest("apt-get failed: " + "\n".join((done.stdout + done.stderr).splitlines()[-5:]))
        half = target.with_suffix(".half")
        subprocess.run(["tar", "-C", root, "-cf", half, "."], check=True)
        half.rename(target)
    return target


def add_checkout(root: Path, *further: str) -> Path:
    """Copy this checkout with its environment and a compiled program, and return where it is."""
    at = root / "opt/lanner"
    at.mkdir(parents=True)
    # Compiled under this kernel, loaded under the guest's.
    subprocess.run([ROOT / ".venv/bin/python", "-m", "collector.bpf.build"], check=True, cwd=ROOT)
    subprocess.run(["tar", "-C", at, "-x"], check=True, input=_archive(*_PACKAGES, "pyproject.toml", *further))
    subprocess.run(["tar", "-C", at, "-x"], check=True, input=_archive(".venv", leave_out=_ONLY_FOR_TESTS))
    for file in (*at.glob(".venv/bin/*"), *at.glob(".venv/lib/*/site-packages/__editable__*")):
        text = file.read_bytes() if file.is_file() and not file.is_symlink() else b""
        if str(ROOT).encode() in text:
            file.write_bytes(text.replace(str(ROOT).encode(), b"/opt/lanner"))
    return at


def _add_lanner(root: Path) -> None:
    """Add this checkout, and let the guest run the check."""
    add_checkout(root, "tests/guest")
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


def arm64_console() -> str:
    """Run a guest of arm64, whose files are in memory, and return what `first.sh` wrote to its console.

    Raises:
        NoGuest: a program is missing, or packages can't be downloaded.
    """
    require("cpio", MACHINES["arm64"].program)
    system = unpacked("arm64", ARM64_PACKAGES)
    with tempfile.TemporaryDirectory(prefix="lanner-guest-", dir="/var/tmp") as place:
        lanner, initrd, console = Path(place, "root"), Path(place, "initrd"), Path(place, "console")
        at = add_checkout_for_arm64(lanner, "tests/guest")
        shutil.copy(at / "tests/guest/first.sh", lanner / "init")
        shutil.copy(unpacked("armhf", ARM32_PACKAGES) / "bin/busybox", lanner / "busybox32")
        # Emulated, compiling Python's modules takes a minute.
        subprocess.run([sys.executable, "-m", "compileall", "-q", system / "usr/lib/python3.11"], check=False)
        archive(initrd, system, lanner, exclude=("./boot", "./lib/modules", "./usr/share/doc", "./usr/share/locale"))
        [kernel] = system.glob("boot/vmlinuz-*")
        boot("arm64", kernel, initrd, "quiet", "-m", "1024", "-serial", f"file:{console}")
        return console.read_text(errors="replace")


def add_checkout_for_arm64(root: Path, *further: str) -> Path:
    """Copy this checkout with a compiled program, its libraries in `site` and accounts, and return where it is."""
    at = root / "opt/lanner"
    at.mkdir(parents=True)
    subprocess.run(["tar", "-C", at, "-x"], check=True, input=_archive(*_PACKAGES, *further))
    subprocess.run([sys.executable, "-m", "collector.bpf.build"], check=True, cwd=at, stdout=subprocess.DEVNULL)
    _install_libraries(at / "site")
    for name, text in _ACCOUNTS.items():
        (root / "etc").mkdir(exist_ok=True)
        (root / "etc" / name).write_text(text)
    (root / "etc/shadow").chmod(0o600)
    subprocess.run([sys.executable, "-m", "compileall", "-q", at], check=False)
    return at


def _install_libraries(target: Path) -> None:
    """Install the wheels that Lanner needs on arm64 into a folder."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    platforms = [f"--platform=manylinux{version}_aarch64" for version in ("2014", "_2_17", "_2_28")]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", target, "--only-binary=:all:"]
    command += ["--python-version=3.11", *platforms, "-c", ROOT / "constraints.txt", *project["dependencies"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoGuest("pip failed: " + "\n".join(done.stderr.splitlines()[-5:]))


def _archive(*paths: str, leave_out: Sequence[str] = ("__pycache__",)) -> bytes:
    excluded = [f"--exclude={pattern}" for pattern in leave_out]
    return subprocess.run(["tar", "-C", ROOT, *excluded, "-c", *paths], check=True, capture_output=True).stdout
