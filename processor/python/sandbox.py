"""Takes the rights of this process away: after that, it computes, reads and writes what is open, and nothing else.

It can open no file and no socket, start no process and no thread, and send no signal. What it tries in spite of that
fails with EPERM, which Python reports as PermissionError.

Source: linux/seccomp.h, linux/audit.h, linux/filter.h, linux/prctl.h; the numbers of calls: asm/unistd_64.h of x86-64,
asm-generic/unistd.h.
"""

import contextlib
import ctypes
import os
import platform
import resource
import struct

from foundation.errors import LannerError

NOBODY = 65534
_NO_NEW_PRIVS, _SET_DUMPABLE, _SET_SECCOMP, _FILTER_MODE = 38, 4, 22, 2
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_EPERM = 1
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
"""BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K."""
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""AUDIT_ARCH of each, and the column of its numbers."""
_CALLS = (
    *((0, 63), (1, 64), (3, 57)),  # read, write, close
    *((9, 222), (10, 226), (11, 215), (12, 214), (25, 216), (28, 233)),  # memory: mmap, mprotect … madvise
    *((15, 139), (38, 103), (60, 93), (231, 94), (219, 128)),  # rt_sigreturn, setitimer, exit, exit_group, restart
    *((24, 124), (202, 98), (35, 101), (230, 115)),  # sched_yield, futex, nanosleep, clock_nanosleep
    *((228, 113), (229, 114), (96, 169), (318, 278)),  # clock_gettime, clock_getres, gettimeofday, getrandom
    *((39, 172), (186, 178), (131, 132)),  # getpid, gettid, sigaltstack
)


class NoSandbox(LannerError):
    """This kernel can't restrict the process; the message is the reason."""


def enter(memory: int) -> None:
    """Take all rights away. memory: limit of the address space, bytes. Raises NoSandbox."""
    # The first to end if the host has too little memory.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("1000")
    if os.geteuid() == 0:
        # A root without CAP_SETUID stays root, and can do nothing that needs a system call of those below.
        with contextlib.suppress(OSError):
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_AS, memory),
    ):
        resource.setrlimit(limit, (value, value))
    libc = ctypes.CDLL(None, use_errno=True)
    program = _program()
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0):
        raise NoSandbox(f"prctl: {os.strerror(ctypes.get_errno())}")
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    if libc.prctl(_SET_SECCOMP, _FILTER_MODE, ctypes.c_char_p(header), 0, 0):
        raise NoSandbox(f"the kernel refuses a seccomp filter: {os.strerror(ctypes.get_errno())}")


def _program() -> bytes:
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise NoSandbox(f"the numbers of system calls of {machine} are not known")
    architecture, column = _ARCHITECTURES[machine]
    numbers = [each[column] for each in _CALLS]
    steps = [
        (_LOAD, 0, 0, 4),  # seccomp_data.arch
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),  # seccomp_data.nr
        *((_EQUAL, len(numbers) - index, 0, number) for index, number in enumerate(numbers)),
        (_RETURN, 0, 0, _ERRNO | _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
