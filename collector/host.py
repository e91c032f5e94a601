"""Which host this is: its id, its name and its current boot, and how far its wall clock is ahead of its boot clock."""

import contextlib
import ctypes
import os
import platform
import re
import subprocess
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from itertools import pairwise
from pathlib import Path

from schemas.encoding.limits import clipped_name

_MACHINE_ID = Path("/etc/machine-id")
_ID = re.compile("[0-9a-f]{32}")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NSENTER_SECONDS = 5
_MAX_FILE_BYTES = 256 << 10
_MAX_ADDRESSES = 32
_CLONE_NEWCGROUP = 0x02000000
_MAX_READINGS = 5
_UNDISTURBED_NS = 100_000
"""Longest time for which a reading of the clocks needs no other one."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The facts that identify a host in every batch; no text is longer than a batch may contain."""

    id: str
    name: str
    boot_id: str
    kernel: str
    os_name: str = ""
    architecture: str = ""


def this_host(host_id: str = "", name: str = "", *, environment: Mapping[str, str] = os.environ) -> HostFacts:
    """Read the host's identity.

    Args:
        host_id: from the settings; empty for the machine's own id.
        name: from the settings; empty for the name in the environment, else the machine's own.
        environment: may name the host, by our variable or by Falco's.
    """
    name = name or environment.get("LANNER_HOSTNAME") or environment.get("FALCO_HOSTNAME") or _host_name()
    names = (
        *(host_id or _machine_id(name), name, _text(_BOOT_ID), platform.release()),
        *(_os_name(), platform.machine()),
    )
    # A batch with a longer one is refused, and all its events are lost.
    return HostFacts(*map(clipped_name, names))


def boot_to_epoch() -> int:
    """Return the wall clock minus the boot clock, ns.

    A reading is wrong by as long as another process ran between its parts, which on a busy host can be tens of
    milliseconds: of several, the one that took the shortest time counts.
    """
    readings = []
    for _ in range(_MAX_READINGS):
        before, epoch, after = _boot_clock(), time.time_ns(), _boot_clock()
        readings.append((after - before, epoch - (before + after) // 2))
        if after - before <= _UNDISTURBED_NS:
            break
    return min(readings)[1]


def host_addresses() -> list[str]:
    """Return the IP addresses of the host, sorted, without those of loopback and link-local; at most 32.

    They are those of process 1: the collector may be in a container.

    Source: proc_pid_net(5); in fib_trie, the line below an address of the host ends with "host LOCAL".
    """
    found = set()
    lines = _beginning("/proc/1/net/fib_trie").splitlines()
    for line, below in pairwise(lines):
        if below.endswith("host LOCAL"):
            found.add(line.rpartition(" ")[2])
    for line in _beginning("/proc/1/net/if_inet6").splitlines():
        found.add(str(IPv6Address(int(line.partition(" ")[0], 16))))
    usable = (each for each in map(ip_address, found) if not each.is_loopback and not each.is_link_local)
    return sorted(map(str, usable))[:_MAX_ADDRESSES]


def join_host_cgroup_namespace() -> None:
    """Make this thread, and threads started by it, see cgroup paths from the host's root.

    In a container with its own cgroup namespace, /proc/PID/cgroup shows paths relative to the container's, which no
    runtime's naming can be recognized in. If the namespace can't be joined, they stay relative.

    Source: cgroup_namespaces(7).
    """
    with contextlib.suppress(OSError):
        if Path("/proc/1/ns/cgroup").readlink() != Path("/proc/self/ns/cgroup").readlink():
            with Path("/proc/1/ns/cgroup").open("rb") as namespace:
                ctypes.CDLL(None).setns(namespace.fileno(), _CLONE_NEWCGROUP)


def _boot_clock() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _machine_id(name: str) -> str:
    """Return the machine's id; for a host without one (an image that was never booted), derive one from its name."""
    text = _text(_MACHINE_ID)
    # An image before its first boot contains "uninitialized", machine-id(5): no two hosts may share that.
    return text if _ID.fullmatch(text) else uuid.uuid5(uuid.NAMESPACE_DNS, name).hex


def _os_name() -> str:
    # A collector that can't look into process 1 is not in a container, as a rule.
    lines = (_beginning("/proc/1/root/etc/os-release") or _beginning("/etc/os-release")).splitlines()
    values = (line.partition("=")[2] for line in lines if line.startswith("PRETTY_NAME="))
    return next((value.strip("\"'") for value in values), "")


def _beginning(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(_MAX_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _host_name() -> str:
    """Return the name of process 1's UTS namespace: in a container our own would be the container's."""
    try:
        is_own = Path("/proc/1/ns/uts").readlink() == Path("/proc/self/ns/uts").readlink()
    except OSError:
        is_own = True
    if is_own:
        return platform.node()
    command = ["nsenter", "--uts=/proc/1/ns/uts", "uname", "-n"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_NSENTER_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return platform.node()
    return done.stdout.strip() or platform.node()
