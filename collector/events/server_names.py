"""The names that TLS clients request: calls that send data in, names out."""

import socket

from collector.events.system_calls import CALLS, DescriptorFlag
from collector.records.tls import MAX_BYTES, begins_hello, parse
from collector.records.types import Syscall

MAX_OPEN = 256
"""Sockets whose hello is not complete yet; beyond that, the oldest is forgotten and counts as unreadable."""
MAX_CALLS = 32
"""Calls by which a hello may be sent."""

_INTERNET = frozenset({socket.AF_INET, socket.AF_INET6})
_TCP = frozenset({socket.IPPROTO_TCP, 262})
"""262 is MPTCP."""


class ServerNames:
    """The names of servers in the ClientHellos that programs send, each known by the call that sends its end.

    A hello may be sent by several calls, and by several processes that share the socket.
    """

    def __init__(self) -> None:
        self.unreadable = 0
        """Hellos that are malformed, or cut before their name: by the bounds, or by another write that was not seen."""
        self._open: dict[int, tuple[bytes, int]] = {}
        """By the socket's inode, what was sent so far, and by how many calls."""

    def receive(self, call: Syscall) -> tuple[str | None, bool]:
        """Return the name that a call completes, if any, and whether the call sends a hello or a part of one."""
        if not call.blob1 or call.result <= 0 or not CALLS[call.event].flags & DescriptorFlag.HELLOS:
            return None, False
        sock = call.socket
        # Too little is read of what io_uring sends.
        if sock is None or call.is_io_uring or sock.protocol not in _TCP or sock.family not in _INTERNET:
            return None, False
        inode = 0 if call.file is None else call.file.ino
        before, calls = self._open.pop(inode, (b"", 0))
        if not before and not begins_hello(call.blob1):
            return None, False
        data = before + call.blob1
        try:
            hello = parse(data)
        except ValueError:
            self.unreadable += 1
            return None, True
        if not hello.is_cut:
            return hello.server_name, True
        if len(data) < MAX_BYTES and calls + 1 < MAX_CALLS:
            self._open[inode] = data, calls + 1
        else:
            self.unreadable += 1
        if len(self._open) > MAX_OPEN:
            del self._open[next(iter(self._open))]
            self.unreadable += 1
        return None, True
