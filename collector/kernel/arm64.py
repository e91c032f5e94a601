"""System call numbers of arm64, with their event types, and where the kernel keeps a call's arguments.

Source: include/uapi/asm-generic/unistd.h, and arch/arm64/include/asm/ptrace.h, syscall.h and thread_info.h. Calls that
newer ones replace, such as open, fork and mkdir, don't exist: programs use openat, clone and mkdirat.
"""

from collector.kernel.x86_64 import EVERYWHERE

NATIVE = {
    5: "setxattr",
    6: "lsetxattr",
    7: "fsetxattr",
    17: "getcwd",
    19: "eventfd2",
    20: "epoll_create1",
    23: "dup",
    24: "dup3",
    25: "fcntl",
    26: "inotify_init1",
    29: "ioctl",
    32: "flock",
    33: "mknodat",
    34: "mkdirat",
    35: "unlinkat",
    36: "symlinkat",
    37: "linkat",
    38: "renameat",
    39: "umount2",
    40: "mount",
    45: "truncate",
    46: "ftruncate",
    47: "fallocate",
    49: "chdir",
    50: "fchdir",
    51: "chroot",
    52: "fchmod",
    53: "fchmodat",
    54: "fchownat",
    55: "fchown",
    56: "openat",
    57: "close",
    59: "pipe2",
    61: "getdents64",
    62: "lseek",
    63: "read",
    64: "write",
    65: "readv",
    66: "writev",
    67: "pread",  # pread64
    68: "pwrite",  # pwrite64
    69: "preadv",
    70: "pwritev",
    71: "sendfile",
    74: "signalfd4",
    76: "splice",
    79: "newfstatat",
    80: "fstat",
    85: "timerfd_create",
    88: "utimensat",
    91: "capset",
    97: "unshare",
    105: "init_module",
    106: "delete_module",
    112: "clock_settime",
    116: "syslog",
    117: "ptrace",
    129: "kill",
    130: "tkill",
    131: "tgkill",
    143: "setregid",
    144: "setgid",
    145: "setreuid",
    146: "setuid",
    147: "setresuid",
    148: "getresuid",
    149: "setresgid",
    150: "getresgid",
    154: "setpgid",
    157: "setsid",
    163: "getrlimit",
    164: "setrlimit",
    167: "prctl",
    170: "settimeofday",
    171: "adjtimex",
    174: "getuid",
    175: "geteuid",
    176: "getgid",
    177: "getegid",
    198: "socket",
    199: "socketpair",
    200: "bind",
    201: "listen",
    202: "accept",
    203: "connect",
    204: "getsockname",
    205: "getpeername",
    206: "sendto",
    207: "recvfrom",
    208: "setsockopt",
    209: "getsockopt",
    210: "shutdown",
    211: "sendmsg",
    212: "recvmsg",
    214: "brk",
    215: "munmap",
    219: "keyctl",
    220: "clone",
    221: "execve",
    222: "mmap",
    225: "swapoff",
    226: "mprotect",
    228: "mlock",
    229: "munlock",
    230: "mlockall",
    231: "munlockall",
    242: "accept4",
    243: "recvmmsg",
    261: "prlimit",  # prlimit64
    262: "fanotify_init",
    265: "open_by_handle_at",
    266: "clock_adjtime",
    268: "setns",
    269: "sendmmsg",
    270: "process_vm_readv",
    271: "process_vm_writev",
    273: "finit_module",
    276: "renameat2",
    277: "seccomp",
    279: "memfd_create",
    280: "bpf",
    281: "execveat",
    282: "userfaultfd",
    284: "mlock2",
    285: "copy_file_range",
    **EVERYWHERE,
}
"""The 64-bit entry."""

COMPAT: dict[int, str] = {}
"""Calls of 32-bit programs aren't reported; their execs, forks and exits are."""

TIME64: frozenset[int] = frozenset()
POINTED: frozenset[int] = frozenset()
SOCKETCALL = 102
SOCKETCALLS: dict[int, str] = {}
"""As in x86_64; of 32-bit calls alone."""

REGISTERS = {
    "CALL": "pt_regs.syscallno",
    # When a call returns, its result has replaced the first argument.
    "ARGUMENT_1": "pt_regs.orig_x0",
    "ARGUMENT_2": "pt_regs.regs+8",
    "ARGUMENT_3": "pt_regs.regs+16",
    "ARGUMENT_4": "pt_regs.regs+24",
    "ARGUMENT_5": "pt_regs.regs+32",
    "ARGUMENT_6": "pt_regs.regs+40",
    "COMPAT_ARGUMENT_1": "pt_regs.orig_x0",
    "COMPAT_ARGUMENT_2": "pt_regs.regs+8",
    "COMPAT_ARGUMENT_3": "pt_regs.regs+16",
    "COMPAT_ARGUMENT_4": "pt_regs.regs+24",
    "COMPAT_ARGUMENT_5": "pt_regs.regs+32",
    "COMPAT_ARGUMENT_6": "pt_regs.regs+40",
    "TASK_COMPAT": "task_struct.thread_info.flags",
}
"""As in x86_64."""

CONSTANTS = {"N_COMPAT": 1 << 22, "N_CONNECT": 203, "N_TMPFILE": 0o20040000}
"""As in x86_64; the flag is TIF_32BIT."""

OPEN_FLAGS = {0o40000: 0o200000, 0o100000: 0o400000, 0o200000: 0o40000, 0o400000: 0o100000}
"""x86-64's numbers of O_DIRECTORY, O_NOFOLLOW, O_DIRECT and O_LARGEFILE."""
