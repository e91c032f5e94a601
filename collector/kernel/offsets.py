"""All kernel struct offsets that the BPF program needs, by their names in the kernel.

Alternatives are separated by a bar, newest kernel first; members that a kernel may lack are optional.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from collector.errors import EnvironmentUnsupported
from collector.kernel.btf import VMLINUX, Btf
from collector.kernel.io_uring_offsets import uring_layout

_MEMBERS = {
    "TASK_REAL_PARENT": "task_struct.real_parent",
    "TASK_TGID": "task_struct.tgid",
    "TASK_PID": "task_struct.pid",
    "TASK_GROUP_LEADER": "task_struct.group_leader",
    "TASK_SIGNAL": "task_struct.signal",
    "TASK_LOGINUID": "task_struct.loginuid",
    "TASK_CGROUPS": "task_struct.cgroups",
    "TASK_NSPROXY": "task_struct.nsproxy",
    "TASK_MM": "task_struct.mm",
    "TASK_CRED": "task_struct.cred",
    "TASK_FILES": "task_struct.files",
    "TASK_FS": "task_struct.fs",
    "TASK_COMM": "task_struct.comm",
    "TASK_START_BOOTTIME": "task_struct.start_boottime|task_struct.real_start_time",
    "TASK_SELF_EXEC_ID": "task_struct.self_exec_id",
    "TASK_THREAD_PID": "task_struct.thread_pid",
    "TASK_EXIT_CODE": "task_struct.exit_code",
    "TASK_FLAGS": "task_struct.flags",
    "TASK_THREAD_STATUS": "task_struct.thread_info.status",
    "SIGNAL_TTY": "signal_struct.tty",
    "SIGNAL_PIDS": "signal_struct.pids",
    "SIGNAL_LIVE": "signal_struct.live",
    "TTY_INDEX": "tty_struct.index",
    "TTY_DRIVER": "tty_struct.driver",
    "TTY_DRIVER_MAJOR": "tty_driver.major",
    "TTY_DRIVER_MINOR_START": "tty_driver.minor_start",
    "NSPROXY_MNT_NS": "nsproxy.mnt_ns",
    "NSPROXY_PID_NS": "nsproxy.pid_ns_for_children",
    "MNT_NS_INUM": "mnt_namespace.ns.inum",
    "PID_NS_INUM": "pid_namespace.ns.inum",
    "PID_NS_CHILD_REAPER": "pid_namespace.child_reaper",
    "MM_ARG_START": "mm_struct.arg_start",
    "MM_ARG_END": "mm_struct.arg_end",
    "MM_ENV_START": "mm_struct.env_start",
    "MM_ENV_END": "mm_struct.env_end",
    "MM_EXE_FILE": "mm_struct.exe_file",
    "CRED_UID": "cred.uid",
    "CRED_GID": "cred.gid",
    "CRED_EUID": "cred.euid",
    "CRED_EGID": "cred.egid",
    "CRED_USER_NS": "cred.user_ns",
    "CRED_CAP_EFFECTIVE": "cred.cap_effective",
    "CRED_CAP_PERMITTED": "cred.cap_permitted",
    "CRED_CAP_INHERITABLE": "cred.cap_inheritable",
    "FILES_FDT": "files_struct.fdt",
    "FDTABLE_FD": "fdtable.fd",
    "FDTABLE_MAX_FDS": "fdtable.max_fds",
    "FS_PWD": "fs_struct.pwd",
    "PATH_MNT": "path.mnt",
    "PATH_DENTRY": "path.dentry",
    "FILE_PATH": "file.f_path",
    "FILE_MODE": "file.f_mode",
    "FILE_FLAGS": "file.f_flags",
    "FILE_INODE": "file.f_inode",
    "FILE_PRIVATE": "file.private_data",
    "DENTRY_PARENT": "dentry.d_parent",
    "DENTRY_NAME": "dentry.d_name.name",
    "DENTRY_NAME_LEN": "dentry.d_name.len",
    "VFSMOUNT_ROOT": "vfsmount.mnt_root",
    "MOUNT_MNT": "mount.mnt",
    "MOUNT_PARENT": "mount.mnt_parent",
    "MOUNT_MOUNTPOINT": "mount.mnt_mountpoint",
    "INODE_INO": "inode.i_ino",
    "INODE_MODE": "inode.i_mode",
    "INODE_UID": "inode.i_uid",
    "INODE_GID": "inode.i_gid",
    "INODE_SB": "inode.i_sb",
    "INODE_CTIME_SEC": "inode.i_ctime_sec|inode.__i_ctime.tv_sec|inode.i_ctime.tv_sec",
    "INODE_CTIME_NSEC": "inode.i_ctime_nsec|inode.__i_ctime.tv_nsec|inode.i_ctime.tv_nsec",
    "INODE_MTIME_SEC": "inode.i_mtime_sec|inode.__i_mtime.tv_sec|inode.i_mtime.tv_sec",
    "INODE_MTIME_NSEC": "inode.i_mtime_nsec|inode.__i_mtime.tv_nsec|inode.i_mtime.tv_nsec",
    "SB_DEV": "super_block.s_dev",
    "SB_MAGIC": "super_block.s_magic",
    "CSS_SET_SUBSYS": "css_set.subsys",
    "CSS_SET_DFL_CGRP": "css_set.dfl_cgrp",
    "CSS_CGROUP": "cgroup_subsys_state.cgroup",
    "CGROUP_KN": "cgroup.kn",
    "CGROUP_LEVEL": "cgroup.level",
    "CGROUP_ANCESTORS": "cgroup.ancestors|cgroup.ancestor_ids",
    "KN_NAME": "kernfs_node.name",
    "KN_PARENT": "kernfs_node.__parent|kernfs_node.parent",
    "KN_ID": "kernfs_node.id",
    "PID_NUMBERS": "pid.numbers",
    "PID_LEVEL": "pid.level",
    "SOCKET_SK": "socket.sk",
    "SOCK_FAMILY": "sock_common.skc_family",
    "SOCK_STATE": "sock_common.skc_state",
    "SOCK_DADDR": "sock_common.skc_daddr",
    "SOCK_RCV_SADDR": "sock_common.skc_rcv_saddr",
    "SOCK_DPORT": "sock_common.skc_dport",
    "SOCK_NUM": "sock_common.skc_num",
    "SOCK_V6_DADDR": "sock_common.skc_v6_daddr",
    "SOCK_V6_RCV_SADDR": "sock_common.skc_v6_rcv_saddr",
    "SOCK_PROTOCOL": "sock.sk_protocol",
    "SOCK_TYPE": "sock.sk_type",
    "UNIX_ADDR": "unix_sock.addr",
    "UNIX_PEER": "unix_sock.peer",
    "UNIX_ADDRESS_NAME": "unix_address.name",
    "UNIX_ADDRESS_LEN": "unix_address.len",
    "BINPRM_FILENAME": "linux_binprm.filename",
    "BINPRM_INTERP": "linux_binprm.interp",
    "FILENAME_NAME": "filename.name",
    "FILENAME_UPTR": "filename.uptr",
    "FILENAME_INAME": "filename.iname",
    "FILENAME_REFCNT": "filename.refcnt",
    "KMEM_CACHE_NAME": "kmem_cache.name",
    "REGS_DI": "pt_regs.di",
    "REGS_SI": "pt_regs.si",
    "REGS_DX": "pt_regs.dx",
    "REGS_R10": "pt_regs.r10",
    "REGS_R8": "pt_regs.r8",
    "REGS_R9": "pt_regs.r9",
    "REGS_BX": "pt_regs.bx",
    "REGS_CX": "pt_regs.cx",
    "REGS_BP": "pt_regs.bp",
    "REGS_ORIG_AX": "pt_regs.orig_ax",
}
_OPTIONAL = {
    "OVL_UPPER": "ovl_inode.__upperdentry",
    "OVL_INODE": "ovl_inode.vfs_inode",
}
_TYPES = (
    "cgroup",
    "cgroup_subsys_state",
    "css_set",
    "dentry",
    "file",
    "filename",
    "inode",
    "kernfs_node",
    "mount",
    "path",
    "pid",
    "sock",
    "socket",
    "super_block",
    "vfsmount",
)
"""Structs whose members are read without a helper where the kernel has bpf_rdonly_cast (from 6.2 on)."""
CAST = "N_CAST"
"""That function's BTF type id."""
CAST_CALL = 0x7FFF0001
"""Stands for it in compiled programs, as the number of a helper that doesn't exist."""
SYS_EXIT = "N_SYS_EXIT"
"""The tracepoint's BTF type id, by which typed programs are loaded."""
PUTNAME = "N_PUTNAME"
"""The BTF type id of putname(), if the kernel has it."""
_PIECE = 1 << 16
_V1_CONTROLLERS = Path("/proc/cgroups")


def definitions(btf_path: Path = VMLINUX, cgroups: Path = _V1_CONTROLLERS) -> dict[str, int]:
    """Return the preprocessor definitions for the running kernel; raises EnvironmentUnsupported if it hides them."""
    try:
        btf = Btf(btf_path.read_bytes())
    except (OSError, ValueError) as error:
        raise EnvironmentUnsupported(*_no_types(btf_path, error)) from error
    found = {f"O_{name}": _first(btf, paths) for name, paths in _MEMBERS.items()}
    for name, path in _OPTIONAL.items():
        try:
            found[f"O_{name}"] = btf.offset(path)
        except KeyError:
            continue
    with suppress(KeyError):
        found |= {CAST: btf.function("bpf_rdonly_cast"), "CAST_CALL": CAST_CALL}
        found |= {defined: btf.structure(name) for name, defined in type_names().items()}
    with suppress(KeyError):
        found[PUTNAME] = btf.function("putname")
    found |= uring_layout(btf).definitions
    found["SIZE_UPID"] = btf.size("upid")
    try:
        found[SYS_EXIT] = btf.typedef("btf_trace_sys_exit")
    except KeyError:
        raise EnvironmentUnsupported(
            "this kernel has no tracepoint sys_exit", "use a kernel with CONFIG_HAVE_SYSCALL_TRACEPOINTS, from 5.15 on"
        ) from None
    if _pids_on_v1(cgroups):
        found["N_PIDS_CGRP"] = btf.enum("cgroup_subsys_id")["pids_cgrp_id"]
    else:
        found["CGROUP_V2"] = 1
    return found


def without_types(layout: dict[str, int]) -> dict[str, int]:
    """Return the definitions of a kernel that lacks bpf_rdonly_cast."""
    return {name: value for name, value in layout.items() if name not in {CAST, "CAST_CALL", *type_names().values()}}


def type_names() -> dict[str, str]:
    """Return the structs whose type ids the program needs, and what it calls these."""
    return {name: f"TYPE_{name.upper()}" for name in _TYPES}


def fingerprint(btf_path: Path = VMLINUX, cgroups: Path = _V1_CONTROLLERS) -> str:
    """Return a digest of what definitions() reads, ten times faster; raises EnvironmentUnsupported."""
    digest = hashlib.sha256(b"v1" if _pids_on_v1(cgroups) else b"v2")
    try:
        with btf_path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    except OSError as error:
        raise EnvironmentUnsupported(*_no_types(btf_path, error)) from error
    return digest.hexdigest()


def _no_types(path: Path, error: Exception) -> tuple[str, str]:
    return (
        f"this kernel has no type information at {path} ({error})",
        "run a kernel built with CONFIG_DEBUG_INFO_BTF (every distribution kernel since 5.8 is)",
    )


def _first(btf: Btf, paths: str) -> int:
    for path in paths.split("|"):
        try:
            return btf.offset(path)
        except KeyError:
            continue
    raise EnvironmentUnsupported(
        f"this kernel has no {paths.replace('|', ' or ')}, which the collector needs",
        "use a kernel from 5.15 on, or report this kernel's version",
    )


def _pids_on_v1(cgroups: Path) -> bool:
    """Return whether the pids controller has a hierarchy of its own (hierarchy number 0 is the unified one)."""
    try:
        rows = cgroups.read_text().splitlines()
    except OSError:
        return False
    return any(row.split()[:1] == ["pids"] and row.split()[1] != "0" for row in rows)
