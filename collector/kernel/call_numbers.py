"""System call numbers that architectures have in common, with their event types.

Source: Linux, include/uapi/asm-generic/unistd.h, arch/x86/entry/syscalls/syscall_32.tbl and arch/arm/tools/syscall.tbl.
"""

EVERYWHERE = {
    425: "io_uring_setup",
    426: "io_uring_enter",
    427: "io_uring_register",
    428: "open_tree",
    429: "move_mount",
    430: "fsopen",
    431: "fsconfig",
    434: "pidfd_open",
    435: "clone3",
    436: "close_range",
    437: "openat2",
    438: "pidfd_getfd",
    452: "fchmodat2",
    463: "setxattrat",
    467: "open_tree_attr",
    469: "file_setattr",
}
"""From 424 on, calls have one number on all architectures, at all entries."""

CALLS_32 = {
    2: "fork",
    3: "read",
    4: "write",
    5: "open",
    6: "close",
    8: "creat",
    9: "link",
    10: "unlink",
    11: "execve",
    12: "chdir",
    14: "mknod",
    15: "chmod",
    16: "lchown",
    19: "lseek",
    21: "mount",
    23: "setuid",
    24: "getuid",
    26: "ptrace",
    33: "access",
    37: "kill",
    38: "rename",
    39: "mkdir",
    40: "rmdir",
    41: "dup",
    42: "pipe",
    45: "brk",
    46: "setgid",
    47: "getgid",
    49: "geteuid",
    50: "getegid",
    52: "umount2",
    54: "ioctl",
    55: "fcntl",
    57: "setpgid",
    61: "chroot",
    63: "dup2",
    66: "setsid",
    70: "setreuid",
    71: "setregid",
    75: "setrlimit",
    79: "settimeofday",
    83: "symlink",
    91: "munmap",
    92: "truncate",
    93: "ftruncate",
    94: "fchmod",
    95: "fchown",
    103: "syslog",
    106: "stat",
    107: "lstat",
    108: "fstat",
    115: "swapoff",
    120: "clone",
    124: "adjtimex",
    125: "mprotect",
    128: "init_module",
    129: "delete_module",
    133: "fchdir",
    140: "llseek",  # _llseek
    141: "getdents",
    143: "flock",
    145: "readv",
    146: "writev",
    150: "mlock",
    151: "munlock",
    152: "mlockall",
    153: "munlockall",
    164: "setresuid",
    165: "getresuid",
    170: "setresgid",
    171: "getresgid",
    172: "prctl",
    182: "chown",
    183: "getcwd",
    185: "capset",
    187: "sendfile",
    190: "vfork",
    191: "getrlimit",  # ugetrlimit
    192: "mmap2",
    195: "stat64",
    196: "lstat64",
    197: "fstat64",
    198: "lchown",  # lchown32
    199: "getuid",  # getuid32
    200: "getgid",  # getgid32
    201: "geteuid",  # geteuid32
    202: "getegid",  # getegid32
    203: "setreuid",  # setreuid32
    204: "setregid",  # setregid32
    207: "fchown",  # fchown32
    208: "setresuid",  # setresuid32
    209: "getresuid",  # getresuid32
    210: "setresgid",  # setresgid32
    211: "getresgid",  # getresgid32
    212: "chown",  # chown32
    213: "setuid",  # setuid32
    214: "setgid",  # setgid32
    221: "fcntl",  # fcntl64
    226: "setxattr",
    227: "lsetxattr",
    228: "fsetxattr",
    238: "tkill",
    239: "sendfile",  # sendfile64
    404: "clock_settime",  # clock_settime64
    405: "clock_adjtime",  # clock_adjtime64
    412: "utimensat",  # utimensat_time64
    417: "recvmmsg",  # recvmmsg_time64
    **EVERYWHERE,
}
"""The numbers that 32-bit programs use on x86 and on ARM."""
