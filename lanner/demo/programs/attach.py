"""Attach to a sleeping child process, and detach."""

import ctypes
import subprocess

PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17


def main() -> None:
    """Start a process, seize it, detach and kill it."""
    ptrace = ctypes.CDLL(None).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    with subprocess.Popen(["/usr/bin/env", "sleep", "5"]) as sleeper:
        ptrace(PTRACE_SEIZE, sleeper.pid, None, None)
        ptrace(PTRACE_DETACH, sleeper.pid, None, None)
        sleeper.kill()


if __name__ == "__main__":
    main()
