"""Programs of the demo, run by path: `python -I programs.py NAME [FILE]`; each makes the system calls of one action."""

import ctypes
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

_PTRACE_SEIZE, _PTRACE_DETACH = 0x4206, 17
_BPF_PROG_LOAD = 5
_SOCKET_FILTER = 1
_BPF = {"x86_64": 321, "aarch64": 280}
_FINIT_MODULE = {"x86_64": 313, "aarch64": 273}


def attach() -> None:
    """Start a process, seize it, detach and kill it."""
    ptrace = ctypes.CDLL(None).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    with subprocess.Popen(["/usr/bin/env", "sleep", "5"]) as sleeper:
        ptrace(_PTRACE_SEIZE, sleeper.pid, None, None)
        ptrace(_PTRACE_DETACH, sleeper.pid, None, None)
        sleeper.kill()


def load_bpf() -> None:
    """Load a socket filter that does nothing, and close it."""
    instructions = ctypes.create_string_buffer(struct.pack("<QQ", 0xB7, 0x95))
    license_name = ctypes.create_string_buffer(b"GPL")
    addresses = ctypes.addressof(instructions), ctypes.addressof(license_name)
    attributes = ctypes.create_string_buffer(struct.pack("<IIQQ", _SOCKET_FILTER, 2, *addresses) + bytes(96))
    ctypes.CDLL(None).syscall(_BPF[os.uname().machine], _BPF_PROG_LOAD, attributes, 48)


def load_module(path: str) -> None:
    """Try to load a file as a kernel module."""
    number = _FINIT_MODULE.get(os.uname().machine)
    if number is not None:
        with Path(path).open("rb") as module:
            ctypes.CDLL(None).syscall(number, module.fileno(), b"", 0)


def redirect() -> None:
    """Connect over the loopback interface and replace standard input with the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        os.dup2(client.fileno(), 0)


def run_from_memory() -> None:
    """Execute a program that is on no disk; it exits at once."""
    memory = os.memfd_create("lanner-demo", os.MFD_CLOEXEC)
    os.write(memory, Path(shutil.which("true") or "/bin/true").read_bytes())
    os.execve(f"/proc/self/fd/{memory}", ["lanner-demo"], {})  # noqa: S606 - the exec is the action


def shell_connection() -> int:
    """Listen on this machine's address and make a shell connect to it; return 3 without such an address."""
    address = own_address()
    if address is None:
        return 3
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        subprocess.run(["/usr/bin/env", "bash", "-c", f": > /dev/tcp/{address}/{port}"], check=False, timeout=10)
    return 0


def own_address() -> str | None:
    """Return the address that this machine would send from; sends no packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation, RFC 5737
        except OSError:
            return None
        address: str = probe.getsockname()[0]
        return None if address.startswith("127.") else address


PROGRAMS = {
    each.__name__: each for each in (attach, load_bpf, load_module, redirect, run_from_memory, shell_connection)
}

if __name__ == "__main__":
    sys.exit(PROGRAMS[sys.argv[1]](*sys.argv[2:]))
