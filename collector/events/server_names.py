"""The names that TLS clients request: calls that send data in, names out."""

import socket
from collections import Counter
from dataclasses import dataclass

from collector.events.looked_up import Account, account_of
from collector.events.system_calls import CALLS, DescriptorFlag
from collector.processes.container_names import ContainerName
from collector.records.tls import MAX_BYTES, begins_hello, parse
from collector.records.types import Syscall

MAX_OPEN = 256
"""Sockets of all users together whose hello is not complete yet."""
MAX_CALLS = 32
"""Calls by which a hello may be sent."""

_HELLOS = frozenset(call.number for call in CALLS if call.flags & DescriptorFlag.HELLOS)
_INTERNET = frozenset({socket.AF_INET, socket.AF_INET6})
_TCP = frozenset({socket.IPPROTO_TCP, 262})
"""262 is MPTCP."""
_SHARE = 8
"""If there are too many, the user who has most loses the oldest, this part of their own."""


@dataclass(frozen=True, slots=True)
class _Beginning:
    """The beginning of a hello."""

    account: Account
    """Whose it is: who began it."""
    data: bytes
    calls: int
    """By how many calls it was sent."""


class ServerNames:
    """The names of servers in the ClientHellos that programs send, each known by the call that sends its end.

    A hello may be sent by several calls, and by several processes that share the socket. If too many are not complete,
    the container that has most loses the oldest of its user who has most, as with LookedUpNames.
    """

    def __init__(self) -> None:
        self.unreadable = 0
        """Hellos that are malformed, or cut before their name: by the bounds, or by another write that was not seen."""
        self._open: dict[int, _Beginning] = {}
        """By the socket's inode; the newest last."""

    def receive(self, call: Syscall, container: ContainerName | None = None) -> tuple[str | None, bool]:
        """Return the name that a call completes, if any, and whether the call sends a hello or a part of one.

        Args:
            call: by a process on the host or in a container.
            container: the container; None on the host.
        """
        if not call.blob1 or call.result <= 0 or call.event not in _HELLOS:
            return None, False
        sock = call.socket
        # Too little is read of what io_uring sends.
        if sock is None or call.is_io_uring or sock.protocol not in _TCP or sock.family not in _INTERNET:
            return None, False
        before = self._open.pop(call.socket_inode, None)
        if before is None:
            if not begins_hello(call.blob1):
                return None, False
            before = _Beginning(account_of(container, call.who.uid), b"", 0)
        data, calls = before.data + call.blob1, before.calls + 1
        try:
            hello = parse(data)
        except ValueError:
            self.unreadable += 1
            return None, True
        if not hello.is_cut:
            return hello.server_name, True
        if len(data) < MAX_BYTES and calls < MAX_CALLS:
            self._open[call.socket_inode] = _Beginning(before.account, data, calls)
        else:
            self.unreadable += 1
        if len(self._open) > MAX_OPEN:
            self._make_room()
        return None, True

    def _make_room(self) -> None:
        by_account = Counter(each.account for each in self._open.values())
        by_container: Counter[str] = Counter()
        for (container, _), count in by_account.items():
            by_container[container] += count
        most = by_container.most_common(1)[0][0]
        largest = max((each for each in by_account if each[0] == most), key=by_account.__getitem__)
        own = [inode for inode, each in self._open.items() if each.account == largest]
        # Several at once, because finding this user takes as long as there are sockets.
        for inode in own[: len(own) // _SHARE + 1]:
            del self._open[inode]
            self.unreadable += 1
