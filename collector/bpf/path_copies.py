"""Takes the kernel's own copies of the paths that programs pass to it, where the kernel frees them.

putname() is called once for each path, kmem_cache_free for nearly everything that a host does, packets included. But
some systems refuse programs at functions, and compilers can inline parts of putname() where it is called. So it is
used only if it sees all the paths that kmem_cache_free sees.
"""

import ctypes
import os
import secrets
import struct
import threading
from contextlib import suppress

from collector.arch import x86_64
from collector.events.system_calls import PATHS_ONLY
from collector.kernel import bpf_syscall

_TRACEPOINT = "kmem_cache_free"
_CALLS = {
    **dict.fromkeys(("access", "chdir", "rmdir", "unlink", "chmod", "chown", "mkdir", "mknod", "execve"), 1),
    **dict.fromkeys(("rename", "link", "symlink"), 2),
}
"""Event types of calls that free paths in different functions of the kernel, and their number of paths, which are the
first arguments. The sandboxes of systemd and of container runtimes permit them all."""
_U32 = struct.Struct("<I")

_libc = ctypes.CDLL(None, use_errno=True)


class PathCopies:
    """The programs that take copies, at most one of them attached."""

    def __init__(self, maps: dict[str, int], copy_bytes: int, freed: int, putname: int | None) -> None:
        """Take ownership of programs; close() closes them.

        Args:
            maps: descriptors of the maps, by name.
            copy_bytes: size of a value of the map copied_names.
            freed: the program for freed objects.
            putname: the one for putname(); None if the kernel refuses it.
        """
        self._maps = maps
        self._copy_bytes = copy_bytes
        self._freed, self._putname = freed, putname
        self._link = -1

    def switch(self, *, enabled: bool) -> None:
        """Take copies or not. Raises OSError if the kernel refuses."""
        if not enabled:
            self._attach(None)
        elif self._link < 0:
            self._attach(self._freed)
            if self._putname is not None:
                self._try_putname()

    def close(self) -> None:
        """Release everything."""
        self._attach(None)
        os.close(self._freed)
        self._forget_putname()

    def _try_putname(self) -> None:
        expected = self._seen()
        with suppress(OSError):
            self._attach(self._putname)
            # None are found where this thread has another number in the kernel, in a PID namespace of its own.
            if expected and self._seen() >= expected:
                return
        self._attach(self._freed)
        self._forget_putname()

    def _forget_putname(self) -> None:
        program, self._putname = self._putname, None
        if program is not None:
            os.close(program)

    def _attach(self, program: int | None) -> None:
        link, self._link = self._link, -1
        if link >= 0:
            os.close(link)
        if program is not None:
            self._link = bpf_syscall.attach_raw_tracepoint(program, _TRACEPOINT if program == self._freed else "")

    def _seen(self) -> set[tuple[str, int]]:
        """Make calls that fail, because their paths don't exist, and return the paths that were copied."""
        numbers = {event: number for number, event in x86_64.NATIVE.items() if event in _CALLS}
        return {(event, at) for event, number in numbers.items() for at in self._copied(number, _CALLS[event])}

    def _copied(self, number: int, count: int) -> set[int]:
        paths = [f"/{secrets.token_hex(16)}/{at}".encode() for at in range(count)]
        watched, copied = self._maps["watched"], self._maps["copied_names"]
        thread, key = _U32.pack(threading.get_native_id()), _U32.pack(number)
        before = bpf_syscall.lookup(watched, key, 1)
        bpf_syscall.update(watched, key, PATHS_ONLY)
        _libc.syscall(ctypes.c_long(number), *map(ctypes.c_char_p, paths + [None] * (6 - count)))
        bpf_syscall.update(watched, key, before)
        with suppress(OSError):  # nothing was copied
            copies = bpf_syscall.lookup(copied, thread, self._copy_bytes)
            bpf_syscall.delete(copied, thread)
            return {at for at, path in enumerate(paths) if path + b"\0" in copies}
        return set()
