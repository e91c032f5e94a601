"""What is read of each system call, and how its arguments are named: one line an event type.

The kernel side is generic: a descriptor a call number tells it which arguments are descriptors, paths or memory.
Names and order of arguments are Falco's event table (driver/event_table.c).
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag

from collector.arch import x86_64

NONE = 0xFF
CWD = 6
"""As a directory: the working directory, for calls that take none."""


class DescriptorFlag(IntFlag):
    """Same names and values as in lanner.bpf.c."""

    EMIT = 1
    STATE = 2
    FD_IS_RESULT = 4
    FAILED_ONLY = 8
    BLOB1_RESULT = 16
    MESSAGE = 32
    PRCTL_NAME = 64
    SOCKETCALL = 128
    STRING_BLOB1 = 256


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument as rules name it: what kind of value it is and where it comes from."""

    name: str
    kind: str
    index: int = -1
    table: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """How one event type is captured and what its arguments are."""

    event: str
    number: int
    """Its position here: the kernel side hands it back in each record."""
    flags: DescriptorFlag
    fd: int
    paths: tuple[tuple[int, int], ...]
    """For each path its argument and that of its directory."""
    blobs: tuple[tuple[int, int, int], ...]
    """For each piece of memory its argument, greatest size, and the argument that holds its size."""
    arguments: tuple[Argument, ...]
    path_roles: str
    """What the paths are to fs.path.*: n name, s source, t target; - none."""


# Columns: event type; capture; arguments.
# Capture: rfd or fdN the event's descriptor; pN a path (pN@M relative to the descriptor in argument M, pN! not a file
# name); bN:SIZE memory, bN:SIZE/M of the length in argument M; state, failed, result, message, prctl, string flags.
# n s t after ~: what the paths are to fs.path.*.
# Arguments: NAME:KIND, where KIND may be followed by its argument's number and a flag table.
_TABLE = """
open           | rfd p0                     | fd:rfd name:path1 flags:openflags1 mode:openmode2 dev:dev ino:ino
openat         | rfd p1@0                   | fd:rfd dirfd:fd0 name:path1 flags:openflags2 mode:openmode3 dev:dev ino:ino
openat2        | rfd p1@0 b2:24             | fd:rfd dirfd:fd0 name:path1 flags:how_flags mode:how_mode resolve:how_resolve dev:dev ino:ino
creat          | rfd p0                     | fd:rfd name:path1 mode:octal1 dev:dev ino:ino creat_flags:layer
open_by_handle_at | rfd                     | fd:rfd mountfd:fd0 flags:openflags2 path:kernel_path dev:dev ino:ino
close          | fd0                        | res:res fd:fd0
close_range    |                            | res:res first:u0 last:u1 flags:flags2=close_range_flags
read           | fd0 b1:80 result           | res:res data:data fd:fd0 size:u2
write          | fd0 b1:80/2                | res:res data:data fd:fd0 size:u2
pread          | fd0 b1:80 result           | res:res data:data fd:fd0 size:u2 pos:u3
pwrite         | fd0 b1:80/2                | res:res data:data fd:fd0 size:u2 pos:u3
readv          | fd0                        | res:res size:res data:none fd:fd0
writev         | fd0                        | res:res data:none fd:fd0 size:res
preadv         | fd0                        | res:res size:res data:none fd:fd0 pos:u3
pwritev        | fd0                        | res:res data:none fd:fd0 size:res pos:u3
sendfile       | fd0                        | res:res offset:none out_fd:fd0 in_fd:fd1 size:u3
splice         | fd0                        | res:res fd_in:fd0 fd_out:fd2 size:u4 flags:flags5=splice_flags
copy_file_range | fd0                       | res:res fdout:fd2 offout:none fdin:fd0 offin:none len:u4
stat           | p0 ~n                      | res:res path:path1
lstat          | p0 ~n                      | res:res path:path1
stat64         | p0 ~n                      | res:res path:path1
lstat64        | p0 ~n                      | res:res path:path1
newfstatat     | p1@0 ~n                    | res:res dirfd:fd0 path:path1 flags:flags3=newfstatat_flags
fstat          | fd0                        | res:res fd:fd0
fstat64        | fd0                        | res:res fd:fd0
access         | p0 ~n                      | res:res name:path1 mode:flags1=access_flags
getcwd         | b0:255 string              | res:res path:string
getdents       | fd0                        | res:res fd:fd0
getdents64     | fd0                        | res:res fd:fd0
lseek          | fd0                        | res:res fd:fd0 offset:u1 whence:enum2=lseek_whence
llseek         | fd0                        | res:res fd:fd0 offset:u2 whence:enum4=lseek_whence
flock          | fd0                        | res:res fd:fd0 operation:flags1=flock_flags
fcntl          | fd0                        | res:rfd fd:fd0 cmd:enum1=fcntl_commands arg:u2
chdir          | p0 state ~n                | res:res path:path1
fchdir         | fd0 state                  | res:res fd:fd0
chroot         | p0 state ~n                | res:res path:path1
rename         | p0 p1 ~st                  | res:res oldpath:path1 newpath:path2
renameat       | p1@0 p3@2 ~st              | res:res olddirfd:fd0 oldpath:path1 newdirfd:fd2 newpath:path2
renameat2      | p1@0 p3@2 ~st              | res:res olddirfd:fd0 oldpath:path1 newdirfd:fd2 newpath:path2 flags:flags4=renameat2_flags
link           | p0 p1 ~st                  | res:res oldpath:path1 newpath:path2
linkat         | p1@0 p3@2 ~st              | res:res olddir:fd0 oldpath:path1 newdir:fd2 newpath:path2 flags:flags4=linkat_flags
symlink        | p0! p1 ~st                 | res:res target:path1 linkpath:path2
symlinkat      | p0! p2@1 ~st               | res:res target:path1 linkdirfd:fd1 linkpath:path2
unlink         | p0 ~n                      | res:res path:path1
unlinkat       | p1@0 ~n                    | res:res dirfd:fd0 name:path1 flags:flags2=unlinkat_flags
rmdir          | p0 ~n                      | res:res path:path1
mkdir          | p0 ~n                      | res:res path:path1 mode:octal1
mkdirat        | p1@0 ~n                    | res:res dirfd:fd0 path:path1 mode:octal2
mknod          | p0 ~n                      | res:res path:path1 mode:mode1=mknod_mode dev:u2
mknodat        | p1@0 ~n                    | res:res dirfd:fd0 path:path1 mode:mode2=mknod_mode dev:u3
chmod          | p0 ~n                      | res:res filename:path1 mode:mode1=chmod_mode
fchmod         | fd0                        | res:res fd:fd0 mode:mode1=chmod_mode
fchmodat       | p1@0 ~n                    | res:res dirfd:fd0 filename:path1 mode:mode2=chmod_mode
chown          | p0 ~n                      | res:res path:path1 uid:i1 gid:i2
lchown         | p0 ~n                      | res:res path:path1 uid:i1 gid:i2
fchown         | fd0                        | res:res fd:fd0 uid:i1 gid:i2
fchownat       | p1@0 ~n                    | res:res dirfd:fd0 pathname:path1 uid:i2 gid:i3 flags:flags4=fchownat_flags
mount          | p1 p0! b2:255 string ~ts   | res:res dev:path2 dir:path1 type:string flags:mountflags3
umount         | p0 ~n                      | res:res name:path1
umount2        | p0 ~n                      | res:res name:path1 flags:flags1=umount_flags
fsconfig       | fd0 p2! p3!                | res:res fd:fd0 cmd:enum1=fsconfig_cmds key:path1 value_bytebuf:none value_charbuf:path2 aux:i4
socket         | rfd                        | fd:rfd domain:enum0=socket_families type:u1 proto:u2 flags:socketflags1
socketpair     | b3:8                       | res:res fd1:pair1 fd2:pair2 source:none peer:none domain:enum0=socket_families type:u1 proto:u2
bind           | fd0 b1:128/2 address       | res:res addr:address fd:fd0
connect        | fd0 b1:128/2 address       | res:res tuple:tuple fd:fd0 addr:address
listen         | fd0                        | res:res fd:fd0 backlog:i1
accept         | rfd                        | fd:rfd tuple:tuple queuepct:none queuelen:none queuemax:none
accept4        | rfd                        | fd:rfd tuple:tuple queuepct:none queuelen:none queuemax:none flags:i3
shutdown       | fd0                        | res:res fd:fd0 how:enum1=shutdown_how
send           | fd0 b1:80/2                | res:res data:data fd:fd0 size:u2 tuple:tuple
sendto         | fd0 b1:80/2 b4:128/5       | res:res data:data fd:fd0 size:u2 tuple:tuple
sendmsg        | fd0 b1:80 b1:128 message   | res:res data:data fd:fd0 size:res tuple:tuple
sendmmsg       | fd0 b1:80 b1:128 message   | res:res fd:fd0 size:none data:data tuple:tuple
recv           | fd0 b1:80 result           | res:res data:data fd:fd0 size:u2 tuple:tuple
recvfrom       | fd0 b1:80 b4:28 result     | res:res data:data tuple:tuple fd:fd0 size:u2
recvmsg        | fd0 b1:80 b1:28 message result | res:res size:res data:data tuple:tuple msgcontrol:none fd:fd0
recvmmsg       | fd0 b1:80 b1:28 message    | res:res fd:fd0 size:none data:data tuple:tuple msgcontrol:none
setsockopt     | fd0                        | res:res fd:fd0 level:enum1=sockopt_levels optname:sockopt2 val:none optlen:u4
getsockopt     | fd0                        | res:res fd:fd0 level:enum1=sockopt_levels optname:sockopt2 val:none optlen:none
pipe           | b0:8                       | res:res fd1:pair1 fd2:pair2 ino:none
pipe2          | b0:8                       | res:res fd1:pair1 fd2:pair2 ino:none flags:openflags1
dup            | rfd                        | res:rfd oldfd:fd0
dup2           | rfd                        | res:rfd oldfd:fd0 newfd:fd1
dup3           | rfd                        | res:rfd oldfd:fd0 newfd:fd1 flags:openflags2
eventfd        | rfd                        | res:rfd initval:u0 flags:zero
eventfd2       | rfd                        | res:rfd flags:openflags1 initval:u0
epoll_create   | rfd                        | res:rfd size:i0
epoll_create1  | rfd                        | res:rfd flags:flags0=epoll_create1_flags
signalfd       | rfd                        | res:rfd fd:fd0 mask:zero flags:zero
signalfd4      | rfd                        | res:rfd flags:openflags3 fd:fd0 mask:zero
inotify_init   | rfd                        | res:rfd flags:zero
inotify_init1  | rfd                        | res:rfd flags:openflags0
userfaultfd    | rfd                        | res:rfd flags:openflags0
memfd_create   | rfd p0!                    | fd:rfd name:path1 flags:flags1=memfd_create_flags
pidfd_open     | rfd                        | fd:rfd pid:pid0 flags:flags1=pidfd_open_flags
pidfd_getfd    | rfd                        | fd:rfd pid_fd:fd0 target_fd:fd1 flags:u2
execve         | p0 failed ~n               | res:res exe:path1 filename:path1
execveat       | p1@0 failed ~n             | res:res exe:path1 filename:path1
clone          |                            | res:pidres flags:flags0=clone_flags
clone3         | b0:88                      | res:pidres flags:clone_args
fork           |                            | res:pidres flags:zero
vfork          |                            | res:pidres flags:zero
ptrace         |                            | res:res request:enum0=ptrace_requests pid:pid1 addr:hex2 data:hex3
process_vm_readv |                          | res:res pid:pid0 data:none
process_vm_writev |                         | res:res pid:pid0 data:none
prctl          | p1! prctl state            | res:res option:enum0=prctl_options arg2_str:path1 arg2_int:prctl_number
setns          | fd0 state                  | res:res fd:fd0 nstype:flags1=clone_flags
unshare        | state                      | res:res flags:flags0=clone_flags
setsid         | state                      | res:pidres
setpgid        | state                      | res:res pid:pid0 pgid:pid1
capset         | b1:24 state                | res:res cap_inheritable:cap2 cap_permitted:cap1 cap_effective:cap0
setuid         | state                      | res:res uid:uid0
setgid         | state                      | res:res gid:gid0
setreuid       | state                      | res:res ruid:uid0 euid:uid1
setregid       | state                      | res:res rgid:gid0 egid:gid1
setresuid      | state                      | res:res ruid:uid0 euid:uid1 suid:uid2
setresgid      | state                      | res:res rgid:gid0 egid:gid1 sgid:gid2
getuid         |                            | uid:uidres
geteuid        |                            | euid:uidres
getgid         |                            | gid:gidres
getegid        |                            | egid:gidres
getresuid      |                            | res:res ruid:none euid:none suid:none
getresgid      |                            | res:res rgid:none egid:none sgid:none
getrlimit      | b1:16                      | res:res cur:limit0 max:limit1 resource:enum0=rlimit_resources
setrlimit      | b1:16                      | res:res cur:limit0 max:limit1 resource:enum0=rlimit_resources
prlimit        | b2:16                      | res:res newcur:limit0 newmax:limit1 oldcur:none oldmax:none pid:i0 resource:enum1=rlimit_resources
kill           |                            | res:res pid:pid0 sig:signal1
tkill          |                            | res:res tid:pid0 sig:signal1
tgkill         |                            | res:res pid:pid0 tid:pid1 sig:signal2
seccomp        |                            | res:res op:u0 flags:u1
keyctl         |                            | res:res operation:enum0=keyctl_operations arg2:none arg3:none arg4:none arg5:none
bpf            |                            | fd:bpffd cmd:enum0=bpf_commands
init_module    | p2!                        | res:res img:none length:u1 uargs:path1
finit_module   | fd0 p1!                    | res:res fd:fd0 uargs:path1 flags:flags2=finit_module_flags
delete_module  | p0!                        | res:res name:path1 flags:flags1=delete_module_flags
mmap           | fd4                        | res:hexres vm_size:none vm_rss:none vm_swap:none addr:hex0 length:u1 prot:flags2=prot_flags flags:flags3=mmap_flags fd:fd4 offset:u5
mmap2          | fd4                        | res:hexres vm_size:none vm_rss:none vm_swap:none addr:hex0 length:u1 prot:flags2=prot_flags flags:flags3=mmap_flags fd:fd4 pgoffset:u5
munmap         |                            | res:res vm_size:none vm_rss:none vm_swap:none addr:hex0 length:u1
mprotect       |                            | res:res addr:hex0 length:u1 prot:flags2=prot_flags
mlock          |                            | res:res addr:hex0 len:u1
mlock2         |                            | res:res addr:hex0 len:u1 flags:flags2=mlock2_flags
munlock        |                            | res:res addr:hex0 len:u1
mlockall       |                            | res:res flags:flags0=mlockall_flags
munlockall     |                            | res:res
io_uring_setup | rfd b1:120                 | res:rfd entries:u0 sq_entries:uring0 cq_entries:uring1 flags:uringflags2=io_uring_setup_flags sq_thread_cpu:uring3 sq_thread_idle:uring4 features:uringflags5=io_uring_setup_feats
io_uring_enter | fd0                        | res:res fd:fd0 to_submit:u1 min_complete:u2 flags:flags3=io_uring_enter_flags sig:none
io_uring_register | fd0                     | res:res fd:fd0 opcode:enum1=io_uring_register_opcodes arg:hex2 nr_args:u3
"""

_WORDS = {
    "state": DescriptorFlag.STATE,
    "failed": DescriptorFlag.FAILED_ONLY,
    "result": DescriptorFlag.BLOB1_RESULT,
    "message": DescriptorFlag.MESSAGE,
    "prctl": DescriptorFlag.PRCTL_NAME,
    "string": DescriptorFlag.STRING_BLOB1,
    "rfd": DescriptorFlag.FD_IS_RESULT,
}


def _argument(text: str) -> Argument:
    name, rest = text.split(":")
    rest, _, table = rest.partition("=")
    if rest in ("path1", "path2", "pair1", "pair2"):
        return Argument(name, rest)
    kind = rest.rstrip("0123456789")
    return Argument(name, kind, int(rest[len(kind) :] or -1), table)


def _call(number: int, row: str) -> Call:
    event, capture, arguments = (part.strip() for part in row.split("|"))
    flags, fd, roles = DescriptorFlag.EMIT, NONE, ""
    paths: list[tuple[int, int]] = []
    blobs: list[tuple[int, int, int]] = []
    for word in capture.split():
        if word in _WORDS:
            flags |= _WORDS[word]
        elif word == "address":
            # The address is always the second piece of memory; the first is data.
            blobs.insert(0, (NONE, 0, NONE))
        elif word.startswith("fd"):
            fd = int(word[2:])
        elif word.startswith("~"):
            roles = word[1:]
        elif word.startswith("p"):
            path, _, directory = word[1:].partition("@")
            paths.append((int(path.rstrip("!")), NONE if path.endswith("!") else int(directory or CWD)))
        elif word.startswith("b"):
            where, _, size = word[1:].partition(":")
            size, _, length = size.partition("/")
            blobs.append((int(where), int(size), int(length or NONE)))
    return Call(event, number, flags, fd, tuple(paths), tuple(blobs), tuple(map(_argument, arguments.split())), roles)


CALLS = tuple(_call(number, row) for number, row in enumerate(filter(None, _TABLE.splitlines())))
"""Every system call that can be watched."""

BY_EVENT = {call.event: call for call in CALLS}

_DESCRIPTOR = struct.Struct("<HH12B")


def descriptors(events: Iterable[str]) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """Give the kernel side's tables for these event types: by call number (32-bit ones at 512 up) and by socketcall.

    Calls that change what the process table holds are always on, as they must be for it to tell the truth.
    """
    wanted = frozenset(events)
    by_number: dict[int, bytes] = {}
    for first, table in ((0, x86_64.NATIVE), (512, x86_64.COMPAT)):
        for number, event in table.items():
            packed = _packed(event, wanted)
            if packed is not None:
                by_number[first + number] = packed
    by_socketcall = {
        number: packed
        for number, event in x86_64.SOCKETCALLS.items()
        if (packed := _packed(event, wanted)) is not None
    }
    if by_socketcall:
        by_number[512 + x86_64.SOCKETCALL] = _DESCRIPTOR.pack(0, DescriptorFlag.SOCKETCALL, *[NONE] * 9, 0, 0, 0)
    return by_number, by_socketcall


def _packed(event: str, wanted: frozenset[str]) -> bytes | None:
    call = BY_EVENT.get(event)
    if call is None:
        return None
    flags = call.flags
    if event not in wanted:
        flags &= ~DescriptorFlag.EMIT
        if not flags & DescriptorFlag.STATE:
            return None
    (path1, dir1), (path2, dir2) = (*call.paths, (NONE, NONE), (NONE, NONE))[:2]
    (blob1, size1, length1), (blob2, size2, length2) = (*call.blobs, (NONE, 0, NONE), (NONE, 0, NONE))[:2]
    return _DESCRIPTOR.pack(
        call.number, flags, call.fd, path1, path2, dir1, dir2, blob1, length1, blob2, length2, size1, size2, 0
    )
