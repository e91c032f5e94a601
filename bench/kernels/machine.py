"""Guests of Debian's kernels: those of an architecture boot from the same disk, whose changes are forgotten."""

import lzma
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lanner.prove.image import NoDebian, package_source
from tests.guest import machine
from tests.guest.machine import ARM64_PACKAGES, NoGuest, add_checkout, add_checkout_for_arm64, require, system, unpacked
from tests.live.compiled import Programs

SECONDS = 5400
"""For one kernel, emulated in software on a busy machine."""

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_PACKAGES = ("python3", "busybox-static", "procps", "curl")
_ARM64_PACKAGES = ("busybox-static", "passwd", "mawk")
"""Beside those of the tests; what the demo starts is among them."""
_MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "overlay")
"""What is not among them is a part of the kernel. ext4 asks for checksums by another name than that of their module."""
_PARTS = re.compile(r"\b(linux-(?:image|binary|modules)-(?!(?:cloud-|rt-)?(?:amd64|arm64)\b)[^ ,()]+)")
_RESULT_BYTES = 1 << 20
_INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /disk
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module; done
/bin/busybox mount -t devtmpfs dev /dev
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] && break; /bin/busybox sleep 1; done
/bin/busybox mount -t ext4 /dev/vda /disk
exec /bin/busybox switch_root /disk /opt/lanner/bench/kernels/start.sh ARGUMENTS
"""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel of Debian's."""

    architecture: str
    """Debian's name for it."""
    suite: str
    """Where its package is."""
    flavor: str
    """`cloud`, `rt` or empty."""

    @property
    def package(self) -> str:
        """The package that depends on the newest one."""
        return "-".join(filter(None, ("linux-image", self.flavor, self.architecture)))

    @staticmethod
    def release(packages: Iterable[Path]) -> str:
        """Return what uname will print, from the names of the packages with a kernel."""
        return re.sub(r"^linux-[a-z]+-|_.*$", "", min(path.name for path in packages))


KERNELS = tuple(
    Kernel(architecture, suite, flavor)
    for architecture in ("amd64", "arm64")
    for suite in ("bullseye-security", "bookworm-security", "trixie-security", "sid", "trixie-backports")
    for flavor in ("cloud", "", "rt")
)


class Packages:
    """Debian's packages of other releases, fetched without touching this machine's apt."""

    def __init__(self, folder: Path, architecture: str) -> None:
        """Read an architecture's lists into an empty folder. Raises NoGuest if they can't be fetched."""
        self._folder, self._architecture = folder, architecture
        try:
            mirror = package_source().mirror
        except NoDebian as error:
            raise NoGuest(str(error)) from error
        for name in ("lists/partial", "archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        rows = []
        for suite in {kernel.suite for kernel in KERNELS}:
            from_ = f"{mirror.rstrip('/')}-security" if suite.endswith("-security") else mirror
            rows.append(f"deb [signed-by={_KEYRING}] {from_} {suite} main\n")
        (folder / "sources").write_text("".join(rows))
        self._run("apt-get", "update", "-qq")

    def fetch(self, kernel: Kernel) -> list[Path]:
        """Fetch the packages with a kernel and its modules."""
        names, found = [f"{kernel.package}/{kernel.suite}"], []
        while names:
            name = names.pop()
            shown = self._run("apt-cache", "show", "--no-all-versions", name)
            depends = next((row for row in shown.splitlines() if row.startswith("Depends:")), "")
            names += [each for each in _PARTS.findall(depends) if each not in found]
            found += [each for each in _PARTS.findall(depends) if each not in found]
        with tempfile.TemporaryDirectory(dir=self._folder) as place:
            self._run("apt-get", "download", "-qq", *found, cwd=Path(place))
            return [file.rename(self._folder / file.name) for file in Path(place).glob("*.deb")]

    def _run(self, command: str, *arguments: str, cwd: Path | None = None) -> str:
        f = self._folder
        options = [f"Dir::Etc::SourceList={f}/sources", "Dir::Etc::SourceParts=/dev/null", f"Dir::Cache={f}"]
        options += [
            f"Dir::State::Lists={f}/lists",
            f"Dir::State::Status={f}/status",
            f"APT::Architecture={self._architecture}",
            f"APT::Architectures={self._architecture}",
        ]
        options += ["APT::Sandbox::User=root", "Acquire::Languages=none"]
        words = [command, *(word for option in options for word in ("-o", option)), *arguments]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd)
        if done.returncode:
            raise NoGuest(f"{command} failed: {done.stderr.strip()[-300:]}")
        return done.stdout


def make_disk(folder: Path, architecture: str) -> Path:
    """Make the disk of an architecture's guests in an empty folder: a Debian with this checkout."""
    require("mke2fs", "dpkg-deb", "cpio", machine.MACHINES[architecture].program)
    root = folder / "root"
    root.mkdir()
    if architecture == "arm64":
        for packages in (ARM64_PACKAGES, _ARM64_PACKAGES):
            files = unpacked("arm64", packages)
            subprocess.run(["cp", "-a", "--no-preserve=ownership", f"{files}/.", root], check=True)
        (root / "bin/sh").unlink(missing_ok=True)
        (root / "bin/sh").symlink_to("bash")
        # Installing the packages would make these.
        (root / "usr/bin/awk").symlink_to("mawk")
        (root / "var/mail").mkdir()
        add_checkout_for_arm64(root, "bench")
        (root / "etc/hostname").write_text("guest\n")
        for name in ("proc", "sys", "dev", "tmp", "run", "root"):
            (root / name).mkdir(exist_ok=True)
    else:
        subprocess.run(["tar", "-C", root, "-xf", system(_PACKAGES)], check=True)
        add_checkout(root, "bench")
        shutil.copy(Programs(folder)("io_uring_acts", static=True), root / "opt/io_uring_acts")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", root, folder / "disk", "3G"], check=True)
    [busybox] = {path.resolve() for path in (root / "bin/busybox", root / "usr/bin/busybox") if path.exists()}
    shutil.copy(busybox, folder / "busybox")
    shutil.rmtree(root)
    return folder / "disk"


def boot(architecture: str, packages: list[Path], on: Path, arguments: str) -> tuple[str, str]:
    """Boot a kernel, and return what `check.py` printed, and the end of the guest's console.

    Args:
        architecture: Debian's name for it.
        packages: those with the kernel and its modules.
        on: the disk.
        arguments: of `check.py`.
    """
    with tempfile.TemporaryDirectory(prefix="lanner-kernels-", dir="/var/tmp") as place:
        folder = Path(place)
        for package in packages:
            subprocess.run(["dpkg-deb", "-x", package, folder / "kernel"], check=True)
        # Beside its modules from Linux 7 on.
        [kernel] = (*folder.glob("kernel/boot/vmlinuz-*"), *folder.glob("kernel/usr/lib/modules/*/vmlinuz"))
        _make_initrd(folder, on.with_name("busybox"), arguments)
        further = ["-m", "1024", "-drive", f"file={on},if=virtio,format=raw,snapshot=on"]
        # Of a second serial port, some machines have none.
        with (folder / "results").open("wb") as results:
            results.truncate(_RESULT_BYTES)
        further += ["-drive", f"file={folder}/results,if=virtio,format=raw", "-serial", f"file:{folder}/console"]
        try:
            machine.boot(architecture, kernel, folder / "initrd", "loglevel=4", *further, seconds=SECONDS)
        except subprocess.TimeoutExpired:
            return "", f"the guest did not end within {SECONDS} s: {_end(folder / 'console')}"
        printed = (folder / "results").read_bytes().rstrip(b"\0")
        return printed.decode(errors="replace"), _end(folder / "console")


def _end(console: Path) -> str:
    return console.read_text(errors="replace")[-2000:]


def _make_initrd(folder: Path, busybox: Path, arguments: str) -> None:
    """Make an initial RAM disk that mounts the disk and goes on there."""
    root = folder / "initial"
    (root / "modules").mkdir(parents=True)
    (root / "bin").mkdir()
    shutil.copy(busybox, root / "bin/busybox")
    found = {_module(path): path for path in (folder / "kernel").rglob("*.ko*")}
    needed: list[str] = []
    for name in _MODULES:
        _add_needed(name, found, needed)
    for name in needed:
        data = found[name].read_bytes()
        (root / "modules" / name).write_bytes(lzma.decompress(data) if found[name].suffix == ".xz" else data)
    (root / "modules/order").write_text(" ".join(needed))
    (root / "init").write_text(_INIT.replace("ARGUMENTS", arguments))
    (root / "init").chmod(0o755)
    machine.archive(folder / "initrd", root)


def _add_needed(name: str, found: dict[str, Path], needed: list[str]) -> None:
    """Add a module behind those that it depends on, unless it is a part of the kernel."""
    if name in needed or name not in found:
        return
    data = found[name].read_bytes()
    data = lzma.decompress(data) if found[name].suffix == ".xz" else data
    for each in re.findall(rb"\0(?:depends|softdep)=([^\0]*)\0", data):
        for other in re.split(r"[, ]+", each.decode().replace("pre: ", "")):
            _add_needed(other.replace("-", "_"), found, needed)
    needed.append(name)


def _module(path: Path) -> str:
    return path.name.partition(".")[0].replace("-", "_")
