"""All numbers of a kernel that the BPF program needs: offsets, sizes and ids, by the names of what they are of.

Alternatives are separated by a bar, newest kernel first; what a kernel may lack is optional, and 0 there.
"""

import hashlib
import platform
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from collector.kernel.architecture import HERE, Architecture
from collector.kernel.btf import FUNC, STRUCT, TYPEDEF, VMLINUX, Btf
from foundation.errors import EnvironmentUnsupported

_MEMBERS = {
    "REQ_OPCODE": "io_kiocb.opcode",
    "REQ_FLAGS": "io_kiocb.flags",
    "REQ_USER_DATA": "io_kiocb.cqe.user_data",
    "REQ_FD": "io_kiocb.cqe.fd",
    "REQ_CTX": "io_kiocb.ctx",
    "REQ_CREDS": "io_kiocb.creds",
    "REQ_ASYNC_DATA": "io_kiocb.async_data",
    "OPEN_DFD": "io_open.dfd",
    "OPEN_FILENAME": "io_open.filename",
    "OPEN_HOW": "io_open.how",
    "OPEN_SLOT": "io_open.file_slot",
    "UNLINK_DFD": "io_unlink.dfd",
    "UNLINK_FLAGS": "io_unlink.flags",
    "UNLINK_FILENAME": "io_unlink.filename",
    "MKDIR_DFD": "io_mkdir.dfd",
    "MKDIR_MODE": "io_mkdir.mode",
    "MKDIR_FILENAME": "io_mkdir.filename",
    "RENAME_OLD_DFD": "io_rename.old_dfd",
    "RENAME_NEW_DFD": "io_rename.new_dfd",
    "RENAME_OLDPATH": "io_rename.oldpath",
    "RENAME_NEWPATH": "io_rename.newpath",
    "RENAME_FLAGS": "io_rename.flags",
    "LINK_OLD_DFD": "io_link.old_dfd",
    "LINK_NEW_DFD": "io_link.new_dfd",
    "LINK_OLDPATH": "io_link.oldpath",
    "LINK_NEWPATH": "io_link.newpath",
    "LINK_FLAGS": "io_link.flags",
    "FTRUNCATE_LENGTH": "io_ftrunc.len",
    "FALLOCATE_MODE": "io_sync.mode",
    "XATTR_NAME": "io_xattr.ctx.kname",
    "XATTR_FLAGS": "io_xattr.ctx.flags",
    "XATTR_FILENAME": "io_xattr.filename",
    "SOCKET_OP_DOMAIN": "io_socket.domain",
    "SOCKET_OP_TYPE": "io_socket.type",
    "SOCKET_OP_PROTOCOL": "io_socket.protocol",
    "SOCKET_OP_SLOT": "io_socket.file_slot",
    "ACCEPT_FLAGS": "io_accept.flags",
    "ACCEPT_SLOT": "io_accept.file_slot",
    "CONNECT_ADDRESS": "io_connect.addr",
    "CONNECT_LENGTH": "io_connect.addr_len",
    "BIND_LENGTH": "io_bind.addr_len",
    "LISTEN_BACKLOG": "io_listen.backlog",
    "SEND_BUFFER": "io_sr_msg.buf",
    "READ_ADDRESS": "io_rw.addr",
    "SEND_LENGTH": "io_sr_msg.len",
    "SEND_FLAGS": "io_sr_msg.msg_flags",
    "SEND_ADDRESS": "io_sr_msg.addr",
    "SEND_ADDRESS_LENGTH": "io_sr_msg.addr_len",
    "ASYNC_ADDRESS": "io_async_msghdr.addr",
    "ASYNC_NAME": "io_async_msghdr.msg.msg_name",
    "ASYNC_NAME_LENGTH": "io_async_msghdr.msg.msg_namelen",
    "RING_NODES": "io_ring_ctx.file_table.data.nodes|io_ring_ctx.file_table.files",
    "RING_NODES_NUMBER": "io_ring_ctx.file_table.data.nr|io_ring_ctx.nr_user_files",
    "NODE_FILE": "io_rsrc_node.file_ptr|io_fixed_file.file_ptr",
}
_OPERATIONS = {
    "FTRUNCATE_LENGTH": "IORING_OP_FTRUNCATE",
    "BIND_LENGTH": "IORING_OP_BIND",
    "LISTEN_BACKLOG": "IORING_OP_LISTEN",
}
"""What only newer operations have, and these: it isn't needed where they don't exist."""
_ONLY_OLDER = frozenset({"SEND_ADDRESS", "SEND_ADDRESS_LENGTH"})
"""Needed only before Linux 6.10, where the kernel copies addresses after the submission."""
_FLAGS = {
    "REQ_CQE_SKIP": "REQ_F_CQE_SKIP_BIT",
    "REQ_CREDS": "REQ_F_CREDS_BIT",
    "REQ_FIXED_FILE": "REQ_F_FIXED_FILE_BIT",
    "REQ_MULTISHOT": "REQ_F_APOLL_MULTISHOT_BIT",
}
TRACEPOINTS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "on_uring_complete": {"io_uring_complete": (4, 8)},
    "on_uring_overflow": {"io_uring_cqe_overflow": (6,)},
    "on_uring_submit": {"io_uring_submit_req": (2,), "io_uring_submit_sqe": (3,)},
}
"""By function of the program: the tracepoint's name, newest kernel first, and the numbers of parameters that we know,
including the implicit first one. Completions first, so that no submission is sent without its completion."""
_WITH_CQE = 4
_COMPLETE_HAS_CQE, _RING_HAS_NODES = "N_COMPLETE_HAS_CQE", "N_RING_HAS_NODES"
_SEND_HAS_ADDRESS = "N_SEND_HAS_ADDRESS"


@dataclass(frozen=True, slots=True)
class UringLayout:
    """Numbers, or the reason why there are none."""

    numbers: dict[str, int]
    lacking: str = ""


def uring_layout(btf: Btf) -> UringLayout:
    """Return where a kernel stores the members of io_uring's requests."""
    found = {"N_URING": 1}
    try:
        for tracepoints in TRACEPOINTS.values():
            tracepoint, parameters = _parameters(btf, tracepoints)
            if parameters not in tracepoints[tracepoint]:
                return UringLayout({}, f"this kernel's tracepoint {tracepoint} has unexpected parameters")
            if tracepoint == "io_uring_complete":
                found[_COMPLETE_HAS_CQE] = int(parameters == _WITH_CQE)
        for name, paths in _MEMBERS.items():
            try:
                found[f"O_{name}"] = _first(btf, paths)
            except KeyError:
                is_newer = name in _OPERATIONS and not _exists(btf.enumerator, _OPERATIONS[name])
                if name not in _ONLY_OLDER and not is_newer:
                    raise
        found[_SEND_HAS_ADDRESS] = int("O_SEND_ADDRESS" in found)
        found[_RING_HAS_NODES] = int(_exists(btf.offset, _MEMBERS["RING_NODES"].split("|")[0]))
        for name, enumerator in _FLAGS.items():
            found[f"N_{name}"] = btf.enumerator(enumerator)
    except KeyError as missing:
        return UringLayout({}, f"this kernel has no {str(missing.args[0]).replace('|', ' or ')}")
    return UringLayout(found)


def _parameters(btf: Btf, tracepoints: Iterable[str]) -> tuple[str, int]:
    """Return the tracepoint that a kernel has of these, and its number of parameters; raises KeyError."""
    for tracepoint in tracepoints:
        with suppress(KeyError):
            return tracepoint, btf.parameters(f"btf_trace_{tracepoint}")
    raise KeyError("|".join(tracepoints))


def _exists(find: Callable[[str], int], name: str) -> bool:
    try:
        find(name)
    except KeyError:
        return False
    return True


_NAMED_AS_THEIR_MEMBERS = (
    ("TASK", "task_struct.", "real_parent tgid pid group_leader signal loginuid cgroups nsproxy mm cred files fs"),
    ("TASK", "task_struct.", "comm self_exec_id thread_pid exit_code flags"),
    ("SIGNAL", "signal_struct.", "tty pids live"),
    ("TTY", "tty_struct.", "index driver"),
    ("TTY_DRIVER", "tty_driver.", "major minor_start"),
    ("NSPROXY", "nsproxy.", "mnt_ns"),
    ("MNT_NS", "mnt_namespace.ns.", "inum"),
    ("PID_NS", "pid_namespace.ns.", "inum"),
    ("PID_NS", "pid_namespace.", "child_reaper"),
    ("MM", "mm_struct.", "arg_start arg_end env_start env_end exe_file"),
    ("CRED", "cred.", "uid gid euid egid user_ns cap_effective cap_permitted cap_inheritable"),
    ("FILES", "files_struct.", "fdt"),
    ("FDTABLE", "fdtable.", "fd max_fds"),
    ("FS", "fs_struct.", "pwd root"),
    ("PATH", "path.", "mnt dentry"),
    ("FILE", "file.f_", "path mode flags inode"),
    ("DENTRY", "dentry.d_", "parent"),
    ("DENTRY", "dentry.d_name.", "name"),
    ("DENTRY_NAME", "dentry.d_name.", "len"),
    ("VFSMOUNT", "vfsmount.mnt_", "root"),
    ("MOUNT", "mount.", "mnt"),
    ("MOUNT", "mount.mnt.mnt_", "root"),
    ("MOUNT", "mount.mnt_", "parent mountpoint"),
    ("INODE", "inode.i_", "ino mode uid gid sb"),
    ("SB", "super_block.s_", "dev magic"),
    ("CSS_SET", "css_set.", "dfl_cgrp"),
    ("CSS", "cgroup_subsys_state.", "cgroup"),
    ("CGROUP", "cgroup.", "kn level"),
    ("KN", "kernfs_node.", "name id"),
    ("PID", "pid.", "numbers level"),
    ("SOCKET", "socket.", "sk"),
    ("SOCK", "sock_common.skc_", "family state daddr rcv_saddr dport num v6_daddr v6_rcv_saddr"),
    ("SOCK", "sock.sk_", "protocol type max_ack_backlog"),
    ("CONNECTION", "inet_connection_sock.icsk_", "bind_hash"),
    ("BUCKET", "inet_bind_bucket.", "fastreuse"),
    ("UNIX", "unix_sock.", "addr peer"),
    ("UNIX_ADDRESS", "unix_address.", "name len"),
    ("BINPRM", "linux_binprm.", "filename interp"),
    ("FILENAME", "filename.", "name uptr iname refcnt"),
    ("KMEM_CACHE", "kmem_cache.", "name"),
)
"""The beginnings of names and of paths, and the members that continue both, such as TASK_TGID and task_struct.tgid."""
_OFFSETS_MEMBERS = {
    f"{name}_{member.upper()}": f"{path}{member}"
    for name, path, members in _NAMED_AS_THEIR_MEMBERS
    for member in members.split()
} | {
    "TASK_START_BOOTTIME": "task_struct.start_boottime|task_struct.real_start_time",
    "NSPROXY_PID_NS": "nsproxy.pid_ns_for_children",
    "FILE_PRIVATE": "file.private_data",
    "FILE_DENTRY": "file.f_path.dentry",
    "INODE_CTIME_SEC": "inode.i_ctime_sec|inode.__i_ctime.tv_sec|inode.i_ctime.tv_sec",
    "INODE_CTIME_NSEC": "inode.i_ctime_nsec|inode.__i_ctime.tv_nsec|inode.i_ctime.tv_nsec",
    "INODE_MTIME_SEC": "inode.i_mtime_sec|inode.__i_mtime.tv_sec|inode.i_mtime.tv_sec",
    "INODE_MTIME_NSEC": "inode.i_mtime_nsec|inode.__i_mtime.tv_nsec|inode.i_mtime.tv_nsec",
    "CGROUP_ANCESTORS": "cgroup.ancestors|cgroup.ancestor_ids",
    "KN_PARENT": "kernfs_node.__parent|kernfs_node.parent",
}
_LACKING = {
    "N_TTY": (
        "terminals of processes (proc.tty)",
        "SIGNAL_TTY TTY_INDEX TTY_DRIVER TTY_DRIVER_MAJOR TTY_DRIVER_MINOR_START",
    ),
    "N_LOGINUID": ("login users (user.loginuid)", "TASK_LOGINUID"),
    "N_UNIX": ("names of Unix sockets", "UNIX_ADDR UNIX_PEER UNIX_ADDRESS_NAME UNIX_ADDRESS_LEN"),
    "N_IPV6": ("addresses of IPv6 sockets", "SOCK_V6_DADDR SOCK_V6_RCV_SADDR"),
    "N_TCP_ROLES": (
        "which end of a TCP connection is the server, in calls that neither connect nor accept",
        "SOCK_MAX_ACK_BACKLOG CONNECTION_BIND_HASH BUCKET_FASTREUSE",
    ),
    "N_PATH_COPIES": (
        "the kernel's copies of paths, without which threads can change paths unseen",
        "FILENAME_NAME FILENAME_UPTR FILENAME_INAME FILENAME_REFCNT KMEM_CACHE_NAME",
    ),
}
"""By the number that is 1 if a kernel has all members that a feature reads: what is off else, and these members."""
_OPTIONAL = frozenset(name for _, members in _LACKING.values() for name in members.split())
_UPTR = "FILENAME_UPTR"
PATH_COPIES = "N_PATH_COPIES"
PATH_COPIES_FEATURE = _LACKING[PATH_COPIES][0]
URING_FEATURE = "operations of io_uring"
FEATURES = (*(feature for feature, _ in _LACKING.values()), URING_FEATURE)
"""All that features_off() may name."""
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
    "task_struct",
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
GETNAME = "N_GETNAME"
"""The BTF type id of the function that copies a path, if the copy doesn't have the path's address in user memory."""
_GETNAME_RESULT = "O_GETNAME_RESULT"
"""Where a program at its end finds what it returned, behind its parameters."""
URING = "N_URING"
"""1 if the kernel has everything that the programs for io_uring read."""
TURN = "N_TURN"
"""No number of the kernel: 0 for a program's only copy, or 1 and 2 for its first and its second one."""
_UPID_BYTES, _PIDS_ON_V1, _OVERLAY = "N_UPID_BYTES", "N_PIDS_ON_V1", "N_OVERLAY"
_CSS_SET_PIDS, _OVL_UPPER = "O_CSS_SET_PIDS", "O_OVL_UPPER"
_PIECE = 1 << 16
_POINTER_BYTES = 8
_V1_CONTROLLERS = Path("/proc/cgroups")


def numbers_of(
    btf_path: Path = VMLINUX, cgroups: Path = _V1_CONTROLLERS, architecture: Architecture = HERE
) -> dict[str, int]:
    """Return the running kernel's numbers; raises EnvironmentUnsupported if it hides them."""
    try:
        btf = Btf(btf_path.read_bytes())
    except (OSError, ValueError) as error:
        raise EnvironmentUnsupported(*_no_types(btf_path, error)) from error
    found = dict(architecture.CONSTANTS)
    for name, paths in {**_OFFSETS_MEMBERS, **architecture.REGISTERS}.items():
        try:
            found[f"O_{name}"] = _first(btf, paths)
        except KeyError:
            if name not in _OPTIONAL:
                raise EnvironmentUnsupported(
                    f"{_without(paths)}, which the collector needs",
                    "use a kernel from 5.15 on, or report this kernel's version",
                ) from None
    found |= _getname(btf)
    for number, (_, members) in _LACKING.items():
        found[number] = int(all(f"O_{name}" in found or _is_replaced(name, found) for name in members.split()))
    with suppress(KeyError):
        # It belongs to overlayfs's own inode, in which the kernel's other inode is a member.
        found[_OVL_UPPER] = btf.offset("ovl_inode.__upperdentry") - btf.offset("ovl_inode.vfs_inode")
        found[_OVERLAY] = 1
    with suppress(KeyError):
        types = {defined: btf.type_id(name, STRUCT) for name, defined in type_names().items()}
        found |= {CAST: btf.type_id("bpf_rdonly_cast", FUNC), **types}
    with suppress(KeyError):
        found[PUTNAME] = btf.type_id("putname", FUNC)
    found |= uring_layout(btf).numbers
    found[_UPID_BYTES] = btf.size("upid")
    try:
        found[SYS_EXIT] = btf.type_id("btf_trace_sys_exit", TYPEDEF)
    except KeyError:
        raise EnvironmentUnsupported(
            "this kernel has no tracepoint sys_exit", "use a kernel with CONFIG_HAVE_SYSCALL_TRACEPOINTS, from 5.15 on"
        ) from None
    if _pids_on_v1(cgroups):
        pids = btf.enum("cgroup_subsys_id")["pids_cgrp_id"]
        found |= {_PIDS_ON_V1: 1, _CSS_SET_PIDS: btf.offset("css_set.subsys") + _POINTER_BYTES * pids}
    return found


def has_all_features(numbers: Mapping[str, int]) -> bool:
    """Return whether features_off() finds nothing, which takes it a tenth of a second or more."""
    return all(numbers.get(name) for name in (*_LACKING, URING))


def features_off(btf_path: Path = VMLINUX) -> dict[str, str]:
    """Return what is off under the running kernel, each with the reason; nothing if its types can't be read."""
    try:
        btf = Btf(btf_path.read_bytes())
    except (OSError, ValueError):
        return {}
    found = {}
    for feature, members in _LACKING.values():
        for name in members.split():
            try:
                _first(btf, _OFFSETS_MEMBERS[name])
            except KeyError:
                if not _is_replaced(name, _getname(btf)):
                    found[feature] = _without(_OFFSETS_MEMBERS[name])
    if lacking := uring_layout(btf).lacking:
        found[URING_FEATURE] = lacking
    return found


def names() -> list[str]:
    """Return the names of all numbers that appear in the program, sorted."""
    members = (*_OFFSETS_MEMBERS, *HERE.REGISTERS, *_MEMBERS)
    others = (
        TURN,
        URING,
        _COMPLETE_HAS_CQE,
        _RING_HAS_NODES,
        _SEND_HAS_ADDRESS,
        GETNAME,
        _GETNAME_RESULT,
        _UPID_BYTES,
        _PIDS_ON_V1,
        _OVERLAY,
        _CSS_SET_PIDS,
        _OVL_UPPER,
        *(set(_LACKING) - {PATH_COPIES}),
        *HERE.CONSTANTS,
        *type_names().values(),
    )
    return sorted([*(f"O_{name}" for name in members), *(f"N_{name}" for name in _FLAGS), *others])


def without_types(numbers: dict[str, int]) -> dict[str, int]:
    """Return the numbers of a kernel that lacks bpf_rdonly_cast."""
    return {name: value for name, value in numbers.items() if name not in {CAST, *type_names().values()}}


def type_names() -> dict[str, str]:
    """Return the structs whose type ids the program needs, and what it calls these."""
    return {name: f"TYPE_{name.upper()}" for name in _TYPES}


def fingerprint(btf_path: Path = VMLINUX, cgroups: Path = _V1_CONTROLLERS) -> str:
    """Return a digest of what numbers_of() reads, ten times faster; raises EnvironmentUnsupported."""
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


def _getname(btf: Btf) -> dict[str, int]:
    """Return what the copies' addresses are found by where copies don't have them, as from Linux 7.0 on."""
    with suppress(KeyError):
        btf.offset(_OFFSETS_MEMBERS[_UPTR])
        return {}
    for function in ("do_getname", "getname_flags"):
        with suppress(KeyError):
            # Both functions are needed.
            btf.type_id("putname", FUNC)
            result = _POINTER_BYTES * btf.parameters(function, FUNC)
            return {GETNAME: btf.type_id(function, FUNC), _GETNAME_RESULT: result}
    return {}


def _is_replaced(name: str, found: Mapping[str, int]) -> bool:
    return name == _UPTR and GETNAME in found


def _first(btf: Btf, paths: str) -> int:
    for path in paths.split("|"):
        member, _, further = path.partition("+")
        with suppress(KeyError):
            return btf.offset(member) + int(further or 0)
    raise KeyError(paths)


def _without(paths: str) -> str:
    return f"this kernel ({platform.release()}) has no {paths.replace('|', ' or ')}"


def _pids_on_v1(cgroups: Path) -> bool:
    """Return whether the pids controller has a hierarchy of its own (hierarchy number 0 is the unified one)."""
    try:
        rows = cgroups.read_text().splitlines()
    except OSError:
        return False
    return any(row.split()[:1] == ["pids"] and row.split()[1] != "0" for row in rows)
