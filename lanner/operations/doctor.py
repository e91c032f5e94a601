"""What this host can and can't do: one small check after another, each with what was found and what to do about it.

Nothing here changes the host, and nothing imports BCC into this process: what is broken must not break the doctor.
"""

import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from collector.bpf.program import SYSTEM_PYTHON, find_compiled
from collector.errors import EnvironmentUnsupported
from collector.kernel.btf import VMLINUX, Btf
from collector.kernel.io_uring_offsets import uring_layout
from collector.settings import CACHE

State = Literal["ok", "missing", "note"]


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """One line of the doctor's table."""

    subject: str
    state: State
    """missing: live detection doesn't work without it; note: something less works."""
    found: str
    remedy: str = ""


def findings(given: Sequence[Path] = ()) -> Iterator[DoctorCheck]:
    """Examine this host.

    given: where compiled eBPF programs may lie that a like host made: files, or folders of them.
    """
    program = compiled_program(given)
    for check in CHECKS:
        finding = check()
        if check in {bcc, headers} and finding.state == "missing" and program.state == "ok":
            finding = replace(finding, state="note", remedy="Not needed with the compiled program that is here.")
        yield finding
    yield program


def _run(*command: str) -> tuple[int, str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    return done.returncode, (done.stdout + done.stderr).strip()


def system() -> DoctorCheck:
    """Tell which system this is: the eBPF programs know the registers of x86-64 Linux."""
    found = f"{platform.system()} {platform.machine()}"
    if found == "Linux x86_64":
        return DoctorCheck("system", "ok", found)
    return DoctorCheck("system", "missing", found, "Live detection needs Linux on x86-64; replay works here.")


def kernel() -> DoctorCheck:
    """Tell the kernel's version: bpf_task_pt_regs, which finds the arguments, came with 5.15, ring buffers with 5.8."""
    release = platform.release()
    match = re.match(r"(\d+)\.(\d+)", release)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    if version >= (5, 15):
        return DoctorCheck("kernel", "ok", release)
    return DoctorCheck("kernel", "missing", release, "The eBPF programs need Linux 5.15 or newer: upgrade the kernel.")


def rights() -> DoctorCheck:
    """Tell whether this process may load eBPF programs."""
    if os.geteuid() != 0:
        return DoctorCheck("rights", "missing", f"user id {os.geteuid()}", "Run it as root: sudo lanner run.")
    effective = _capabilities()
    lacking = [name for name, bit in NEEDED_CAPABILITIES if not effective >> bit & 1]
    # CAP_BPF and CAP_PERFMON together do what CAP_SYS_ADMIN did before them.
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
    """Tell whether this process sees the host's processes: in a container without the host's, pids mean others."""
    try:
        inode = Path("/proc/self/ns/pid").stat().st_ino
    except OSError as error:
        return DoctorCheck("pid namespace", "note", str(error.strerror), "Mount /proc.")
    # The first pid namespace has a fixed number. Source: include/linux/proc_ns.h, PROC_PID_INIT_INO.
    if inode == 0xEFFFFFFC:
        return DoctorCheck("pid namespace", "ok", "the host's")
    return DoctorCheck("pid namespace", "missing", "a container's", "Run the container with --pid host.")


def btf() -> DoctorCheck:
    """Tell whether the kernel says how its structures are laid out."""
    path = Path("/sys/kernel/btf/vmlinux")
    if path.exists():
        return DoctorCheck("BTF", "ok", f"{path}, {path.stat().st_size / 1e6:.1f} MB")
    remedy = "Use a kernel built with CONFIG_DEBUG_INFO_BTF, as Debian's is."
    return DoctorCheck("BTF", "missing", f"no {path}", remedy)


def io_uring() -> DoctorCheck:
    """Tell whether what io_uring does without system calls is seen: its insides differ between kernels."""
    try:
        switch = Path("/proc/sys/kernel/io_uring_disabled").read_text(encoding="ascii").strip()
    except OSError:
        switch = ""
    if switch == "2":
        return DoctorCheck("io_uring", "ok", "switched off")
    try:
        lacking = uring_layout(Btf(VMLINUX.read_bytes())).lacking
    except (OSError, ValueError) as error:
        lacking = f"the kernel's types can't be read: {error}"
    if not lacking:
        return DoctorCheck("io_uring", "ok", "its acts are seen")
    remedy = "Acts through io_uring go unseen: switch it off (sysctl kernel.io_uring_disabled=2) or use a newer kernel."
    return DoctorCheck("io_uring", "note", lacking, remedy)


def bpf_switched_on() -> DoctorCheck:
    """Tell whether kernel lockdown stands in the way of reading kernel memory."""
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
    """Tell whether tracefs is mounted: BCC looks tracepoints up there."""
    for place in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"):
        if os.access(f"{place}/events", os.F_OK):
            return DoctorCheck("tracefs", "ok", place)
    return DoctorCheck(
        "tracefs", "note", "not mounted, or not readable", "mount -t tracefs tracefs /sys/kernel/tracing"
    )


def bcc() -> DoctorCheck:
    """Tell whether Debian's BCC can be imported by Debian's Python, which compiles in a process of its own."""
    code = "import bcc; print(getattr(bcc, '__version__', '?'), bcc.__file__); assert hasattr(bcc, 'BPF')"
    status, text = _run(SYSTEM_PYTHON, "-I", "-c", code)
    if status == 0:
        return DoctorCheck("BCC", "ok", text.splitlines()[-1])
    last = text.splitlines()[-1] if text else "can't be imported"
    remedy = (
        "apt-get install python3-bpfcc (PyPI's bcc is another project), or give this host a program that a like one "
        "compiled: lanner collector build-cache."
    )
    return DoctorCheck("BCC", "missing", last[:120], remedy)


def compiled_program(given: Sequence[Path]) -> DoctorCheck:
    """Tell whether a compiled program is here that fits this kernel: then neither BCC nor headers are needed."""
    subject = "compiled program"
    try:
        found, unfit = find_compiled(CACHE, given)
    except EnvironmentUnsupported as error:
        return DoctorCheck(subject, "note", error.reason, error.remedy)
    if found is not None:
        return DoctorCheck(subject, "ok", str(found))
    if unfit:
        return DoctorCheck(subject, "note", "; ".join(unfit), "lanner collector build-cache makes one, on a like host.")
    return DoctorCheck(subject, "note", "none yet", "The first start compiles it, where BCC and kernel headers are.")


def headers() -> DoctorCheck:
    """Tell whether BCC finds kernel headers; for a layout of its own it only needs a few of them."""
    build = Path(f"/lib/modules/{platform.release()}/build")
    if build.exists():
        return DoctorCheck("kernel headers", "ok", f"{build} -> {build.resolve()}")
    remedy = "make setup, or: apt-get install linux-headers-amd64, and link its trees as build and source there."
    return DoctorCheck("kernel headers", "missing", f"no {build}", remedy)


def ring_buffer() -> DoctorCheck:
    """Tell how much memory may be locked: kernels before 5.11 charge BPF maps against it."""
    import resource  # noqa: PLC0415  # is not there on other systems, where doctor must still speak

    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY:
        return DoctorCheck("locked memory", "ok", "unlimited")
    new_accounting = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2]) >= (5, 11)
    state: State = "ok" if new_accounting or os.geteuid() == 0 else "note"
    return DoctorCheck("locked memory", state, f"{soft // 1024} KiB", "" if state == "ok" else "ulimit -l unlimited")


def python() -> DoctorCheck:
    """Tell which Python runs this."""
    version = platform.python_version()
    if (3, 11) <= sys.version_info < (3, 14):
        return DoctorCheck("Python", "ok", f"{version}, {sys.executable}")
    return DoctorCheck("Python", "missing", version, "Use Python 3.11 to 3.13.")


def cache() -> DoctorCheck:
    """Tell whether compiled eBPF programs can be kept: without, each start compiles for a second."""
    folder = CACHE
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    if os.access(nearest, os.W_OK):
        return DoctorCheck("cache", "ok", str(folder))
    return DoctorCheck("cache", "note", f"{folder} can't be written", "Each start compiles anew, which takes a second.")


def docker() -> DoctorCheck:
    """Tell whether container names and images can be asked for."""
    path = "/var/run/docker.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(path)
        except OSError as error:
            remedy = "Containers are told apart by id, but without name and image until dockerd runs."
            return DoctorCheck("Docker", "note", f"{path}: {error.strerror or 'does not answer'}", remedy)
    return DoctorCheck("Docker", "ok", path)


def cgroups() -> DoctorCheck:
    """Tell which cgroup layout names the containers."""
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return DoctorCheck("cgroups", "ok", "version 2")
    if Path("/sys/fs/cgroup/pids").exists():
        return DoctorCheck("cgroups", "ok", "version 1")
    return DoctorCheck("cgroups", "note", "not mounted at /sys/fs/cgroup", "Containers that run already go unseen.")


def tools() -> DoctorCheck:
    """Tell whether a compiler for 32-bit acts and the like is there; only the tests want them."""
    lacking = [name for name in ("bpftool", "dockerd", "debootstrap", "gcc") if shutil.which(name) is None]
    if lacking:
        return DoctorCheck("test tools", "note", f"without {', '.join(lacking)}", "make test installs them.")
    return DoctorCheck("test tools", "ok", "all there")


CHECKS: tuple[Callable[[], DoctorCheck], ...] = (
    system,
    kernel,
    rights,
    pid_namespace,
    btf,
    io_uring,
    bpf_switched_on,
    bcc,
    headers,
    tracefs,
    ring_buffer,
    python,
    cache,
    cgroups,
    docker,
    tools,
)
