"""Checks of this host for `lanner doctor`: each returns its finding and a remedy.

Changes nothing on the host, and doesn't import BCC into this process, so that a broken one can't break the doctor.
"""

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from collector.bpf.build import SYSTEM_PYTHON, build_target, find_compiled
from collector.containers.docker import DEFAULT_SOCKET, PODMAN_SOCKET
from collector.containers.runtimes import versions
from collector.kernel.architecture import ARCHITECTURES, HERE
from collector.kernel.btf import VMLINUX, Btf
from collector.kernel.offsets import URING_FEATURE, features_off, uring_layout
from collector.settings import CACHE

State = Literal["ok", "missing", "note"]


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """One row of the doctor's table."""

    subject: str
    state: State
    """missing: detection, or what the settings configure, doesn't work without it; note: a feature is limited."""
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class ContainerSockets:
    """Sockets of container runtimes, as configured."""

    docker: Path = DEFAULT_SOCKET
    podman: Path = PODMAN_SOCKET
    cri: tuple[Path, ...] = ()
    """Empty for the usual ones."""


def findings(sockets: ContainerSockets | None = None) -> Iterator[DoctorCheck]:
    """Check this host and yield the findings."""
    program = compiled_program()
    for check in CHECKS:
        if check not in {bcc, headers, tracefs} or program.state != "ok":
            yield check()
    yield from container_runtimes(sockets or ContainerSockets())
    yield program


def _run(*command: str) -> tuple[int, str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    return done.returncode, (done.stdout + done.stderr).strip()


def system() -> DoctorCheck:
    """Check the system: the collector knows the numbers and registers of some architectures of Linux."""
    found = f"{platform.system()} {platform.machine()}"
    if platform.system() == "Linux" and platform.machine() in ARCHITECTURES:
        return DoctorCheck("system", "ok", found)
    return DoctorCheck("system", "missing", found, "Live detection needs Linux on x86-64 or arm64; replay works here.")


def kernel() -> DoctorCheck:
    """Check the kernel version."""
    release = platform.release()
    match = re.match(r"(\d+)\.(\d+)", release)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    if version >= HERE.OLDEST:
        return DoctorCheck("kernel", "ok", release)
    oldest = ".".join(map(str, HERE.OLDEST))
    remedy = f"The eBPF programs need Linux {oldest} or newer: upgrade the kernel."
    return DoctorCheck("kernel", "missing", release, remedy)


def rights() -> DoctorCheck:
    """Check whether this process may load eBPF programs."""
    if os.geteuid() != 0:
        return DoctorCheck("rights", "missing", f"user id {os.geteuid()}", "Run it as root: sudo lanner run.")
    effective = _capabilities()

    lacking = [name for name, bit in NEEDED_CAPABILITIES if not effective >> bit & 1]
    # CAP_BPF and CAP_PERFMON together replace CAP_SYS_ADMIN.
    if "CAP_SYS_ADMIN" in lacking and effective >> 39 & 1 and effective >> 38 & 1:
        lacking.remove("CAP_SYS_ADMIN")
    if lacking:
        remedy = f"In a container, add {' and '.join(name.removeprefix('CAP_') for name in lacking)}."
        return DoctorCheck("rights", "missing", f"root without {', '.join(lacking)}", remedy)
    return DoctorCheck("rights", "ok", "root")


NEEDED_CAPABILITIES = (("CAP_SYS_ADMIN", 21), ("CAP_SYS_PTRACE", 19))


def _capabilities() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def pid_namespace() -> DoctorCheck:
    """Check for the host's pid namespace: in a container's own namespace, pids refer to other processes."""
    try:
        inode = Path("/proc/self/ns/pid").stat().st_ino
    except OSError as error:
        return DoctorCheck("pid namespace", "note", str(error.strerror), "Mount /proc.")
    # The first pid namespace has a fixed number. Source: include/linux/proc_ns.h, PROC_PID_INIT_INO.
    if inode == 0xEFFFFFFC:
        return DoctorCheck("pid namespace", "ok", "the host's")
    return DoctorCheck("pid namespace", "missing", "a container's", "Run the container with --pid host.")


def btf() -> DoctorCheck:
    """Check for the kernel's type information."""
    path = Path("/sys/kernel/btf/vmlinux")
    if path.exists():
        return DoctorCheck("BTF", "ok", f"{path}, {path.stat().st_size / 1e6:.1f} MB")
    remedy = "Use a kernel built with CONFIG_DEBUG_INFO_BTF, as Debian's is."
    return DoctorCheck("BTF", "missing", f"no {path}", remedy)


def io_uring() -> DoctorCheck:
    """Check whether operations through io_uring are visible: the layout of its structures differs between kernels."""
    try:
        switch = Path("/proc/sys/kernel/io_uring_disabled").read_text(encoding="ascii").strip()
    except OSError:
        switch = ""
    if switch == "2":
        return DoctorCheck("io_uring", "ok", "disabled")
    try:
        lacking = uring_layout(Btf(VMLINUX.read_bytes())).lacking
    except (OSError, ValueError) as error:
        lacking = f"the kernel's type information can't be read: {error}"
    if not lacking:
        return DoctorCheck("io_uring", "ok", "its operations are visible")
    remedy = "io_uring operations are invisible: disable it (sysctl kernel.io_uring_disabled=2) or use a newer kernel."
    return DoctorCheck("io_uring", "note", lacking, remedy)


def features() -> DoctorCheck:
    """Check whether the kernel has all members of its structs that are read; what reads a missing one is off."""
    off = [f"{feature}: {reason}" for feature, reason in features_off().items() if feature != URING_FEATURE]
    if not off:
        return DoctorCheck("features", "ok", "none is off")
    remedy = "Use a distribution's kernel, which has them, or report this kernel's version."
    return DoctorCheck("features", "note", f"off: {'; '.join(off)}", remedy)


def bpf_switched_on() -> DoctorCheck:
    """Check whether kernel lockdown prevents reading kernel memory."""
    try:
        text = Path("/sys/kernel/security/lockdown").read_text(encoding="ascii", errors="replace")
    except OSError:
        return DoctorCheck("lockdown", "ok", "none")
    match = re.search(r"\[(\w+)\]", text)
    mode = match[1] if match else "none"
    if mode == "confidentiality":
        return DoctorCheck("lockdown", "missing", mode, "eBPF can't read kernel memory: boot with lockdown=none.")
    return DoctorCheck("lockdown", "ok", mode)


def tracefs() -> DoctorCheck:
    """Check whether tracefs is mounted: BCC looks up tracepoints there."""
    for folder in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"):
        if os.access(f"{folder}/events", os.F_OK):
            return DoctorCheck("tracefs", "ok", folder)
    return DoctorCheck(
        "tracefs", "note", "not mounted, or not readable", "mount -t tracefs tracefs /sys/kernel/tracing"
    )


def bcc() -> DoctorCheck:
    """Check whether Debian's Python, which compiles in a process of its own, can import Debian's BCC."""
    code = "import bcc; print(getattr(bcc, '__version__', '?'), bcc.__file__); assert hasattr(bcc, 'BPF')"
    status, text = _run(SYSTEM_PYTHON, "-I", "-c", code)
    if status == 0:
        return DoctorCheck("BCC", "ok", text.splitlines()[-1])
    last = text.splitlines()[-1] if text else "can't be imported"
    remedy = (
        "apt-get install python3-bpfcc (PyPI's bcc is another project), or provide a program compiled on another "
        "host: make objects."
    )
    return DoctorCheck("BCC", "missing", last[:120], remedy)


def compiled_program() -> DoctorCheck:
    """Check for a compiled program of this version: then neither BCC nor headers are needed."""
    subject = "compiled program"
    found, unfit = find_compiled(CACHE)
    if found is not None:
        written = time.strftime("%Y-%m-%d", time.gmtime(found.stat().st_mtime))
        digest = build_target().program[:12]
        return DoctorCheck(subject, "ok", f"{found}, for all kernels: {digest}, written {written}")
    if unfit:
        return DoctorCheck(subject, "note", "; ".join(unfit), "Make one on another host: make objects.")
    return DoctorCheck(
        subject, "note", "none yet", "The first start compiles it if BCC and kernel headers are present."
    )


def headers() -> DoctorCheck:
    """Check whether BCC finds kernel headers; it needs only a few of them."""
    build = Path(f"/lib/modules/{platform.release()}/build")
    if build.exists():
        return DoctorCheck("kernel headers", "ok", f"{build} -> {build.resolve()}")
    remedy = "make setup, or: apt-get install linux-headers-amd64 or -arm64, and link them as build and source there."
    return DoctorCheck("kernel headers", "missing", f"no {build}", remedy)


def ring_buffer() -> DoctorCheck:
    """Check the limit of locked memory: kernels before 5.11 charge BPF maps against it."""
    import resource  # noqa: PLC0415  # missing on other systems, where doctor must still work

    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY:
        return DoctorCheck("locked memory", "ok", "unlimited")
    new_accounting = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2]) >= (5, 11)
    state: State = "ok" if new_accounting or os.geteuid() == 0 else "note"
    return DoctorCheck("locked memory", state, f"{soft // 1024} KiB", "" if state == "ok" else "ulimit -l unlimited")


def python() -> DoctorCheck:
    """Check the Python version."""
    version = platform.python_version()
    if (3, 11) <= sys.version_info < (3, 14):
        return DoctorCheck("Python", "ok", f"{version}, {sys.executable}")
    return DoctorCheck("Python", "missing", version, "Use Python 3.11 to 3.13.")


def cache() -> DoctorCheck:
    """Check whether there can be a cache; otherwise each start does again what takes less than a second."""
    folder = CACHE
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if os.access(nearest, os.W_OK):
        return DoctorCheck("cache", "ok", str(folder))
    remedy = "Each start reads the kernel's types again, and compiles if no compiled program is present."
    return DoctorCheck("cache", "note", f"{folder} is not writable", remedy)


def container_runtimes(sockets: ContainerSockets) -> Iterator[DoctorCheck]:
    """Check which container runtimes answer, for names, images and labels of their containers."""
    answers = list(versions(sockets.docker, sockets.podman, sockets.cri))
    for answer in answers:
        if answer.version is not None:
            yield DoctorCheck(answer.kind, "ok", f"{answer.version} at {answer.socket}")
        else:
            remedy = "Its containers lack what their bundles don't contain: running.md, Containers."
            yield DoctorCheck(answer.kind, "note", answer.failure, remedy)
    if not answers:
        remedy = "Other sockets: collector.docker_socket, collector.podman_socket, collector.cri_sockets."
        yield DoctorCheck("containers", "note", "no container runtime found", remedy)


def cgroups() -> DoctorCheck:
    """Check which cgroup version identifies the containers."""
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return DoctorCheck("cgroups", "ok", "version 2")
    if Path("/sys/fs/cgroup/pids").exists():
        return DoctorCheck("cgroups", "ok", "version 1")
    return DoctorCheck(
        "cgroups", "note", "not mounted at /sys/fs/cgroup", "Containers that are already running are not identified."
    )


def tools() -> DoctorCheck:
    """Check for the tools that only the tests need, such as a compiler for 32-bit actions."""
    from shutil import which  # noqa: PLC0415  # with what it imports, 0.2 MiB that `lanner run` doesn't need

    lacking = [name for name in ("bpftool", "dockerd", "debootstrap", "gcc") if which(name) is None]
    if lacking:
        return DoctorCheck("test tools", "note", f"without {', '.join(lacking)}", "make test installs them.")
    return DoctorCheck("test tools", "ok", "all present")


CHECKS: tuple[Callable[[], DoctorCheck], ...] = (
    system,
    kernel,
    rights,
    pid_namespace,
    btf,
    io_uring,
    features,
    bpf_switched_on,
    bcc,
    headers,
    tracefs,
    ring_buffer,
    python,
    cache,
    cgroups,
    tools,
)
