"""Container runtimes around runc, for what a test needs and this machine or runc doesn't offer."""

import sys
from pathlib import Path

_SCRIPT = """#!{python} -I
import json, os, sys

NAMES = {names}
arguments = sys.argv[1:]
if "create" in arguments and "--bundle" in arguments:
    path = os.path.join(arguments[arguments.index("--bundle") + 1], "config.json")
    with open(path) as file:
        config = json.load(file)
    with open("/proc/self/status") as file:
        bounding = next(int(line.split()[1], 16) for line in file if line.startswith("CapBnd:"))
    kinds = config["process"].get("capabilities", {{}})
    for kind, names in kinds.items():
        kinds[kind] = [name for name in names if name in NAMES and bounding >> NAMES.index(name) & 1]
    with open(path, "w") as file:
        json.dump(config, file)
os.execvp("runc", ["runc", *arguments])
"""

_SLOW = """#!/bin/sh
runc "$@" || exit
for argument; do
    [ "$argument" != start ] || exec sleep 5
done
"""

# In the order of uapi/linux/capability.h.
_CAPABILITIES = """
chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service
net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin
sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override
mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore
"""


def privileged_runtime(directory: Path) -> Path:
    """Write a runtime that leaves out the capabilities that this machine lacks, and return its path.

    Docker requests all known ones for a privileged container, and runc then refuses to start it.

    Args:
        directory: a directory of the daemon's own.
    """
    path = directory / "runtime"
    names = [f"CAP_{name.upper()}" for name in _CAPABILITIES.split()]
    path.write_text(_SCRIPT.format(python=sys.executable, names=names))
    path.chmod(0o755)
    return path


def slow_runtime(directory: Path) -> Path:
    """Write a runtime that reports a start late, as on a busy host, and return its path.

    Args:
        directory: a directory of the daemon's own.
    """
    path = directory / "slow-runtime"
    path.write_text(_SLOW)
    path.chmod(0o755)
    return path
