"""The names that programs look up: answers of name servers in, names of the addresses that they connect to out."""

import socket
from collections.abc import Callable
from functools import partial

from collector.events.system_calls import CALLS, DescriptorFlag
from collector.events.texts import socket_address
from collector.processes.container_names import ContainerName
from collector.records.dns import DnsAnswer, parse
from collector.records.types import Syscall

PORT = 53
"""The port of name servers."""
MAX_ADDRESSES = 16_384
"""Addresses of all users together that have names."""
MAX_NAMES = 4
"""Names of an address that a user looked up; the newest are stored."""
GRACE = 600
"""Seconds for which a name counts after its time to live, because programs store addresses longer."""
RESOLVERS = frozenset({"systemd-resolve", "unbound", "dnsmasq", "_dnsmasq", "bind", "named", "nscd"})
"""Users of the host, beside root, whose programs look up names for others."""

_INTERNET = frozenset({socket.AF_INET, socket.AF_INET6})
_NANOSECONDS = 10**9
_BLOCK = 65_536
"""From this id on, one user may own a block of as many (subuid(5))."""
_ALL = ("", -1)

Account = tuple[str, int]
"""A container that a user can't have made, empty for the host, and a user or a block of users."""


def answer_in(call: Syscall) -> DnsAnswer | None:
    """Return the answer that a call received from a name server; None if it received none.

    Raises:
        ValueError: it received something else from a name server, or too little of an answer.
    """
    sock = call.socket
    if sock is None or call.result <= 0 or not CALLS[call.event].flags & DescriptorFlag.ANSWERS:
        return None
    server = (sock.remote_ip, sock.remote_port) if sock.remote_port else socket_address(call.blob2)
    if server is None or server[1] != PORT or sock.family not in _INTERNET or not call.blob1:
        return None
    return parse(call.blob1, is_stream=sock.type == socket.SOCK_STREAM)


class LookedUpNames:
    """The names by which addresses were looked up on a host, for each user.

    An answer counts for the user who received it, in the same container, because users can answer themselves; what root
    and RESOLVERS receive on the host counts for all. If there are too many, whoever has most loses the oldest. Cgroups
    that users make are no containers here, so that nobody has many accounts.
    """

    def __init__(self) -> None:
        self.unreadable = 0
        """Messages of name servers that could not be parsed."""
        self._count = 0
        # By account and address, the names with the time until which they count; the newest last.
        self._known: dict[Account, dict[str, dict[str, int]]] = {}

    def receive(self, call: Syscall, container: ContainerName | None, user: str | None) -> str | None:
        """Store the answer that a call received, if any, and return it as batches have it.

        Args:
            call: by a process on the host or in a container.
            container: the container; None on the host.
            user: the name of the process's user.
        """
        try:
            answer = answer_in(call)
        except ValueError:
            self.unreadable += 1
            return None
        if answer is None:
            return None
        is_for_all = container is None and (call.who.uid == 0 or user in RESOLVERS)
        account = _ALL if is_for_all else _account(container, call.who.uid)
        until = call.who.time + (answer.seconds + GRACE) * _NANOSECONDS
        for address in answer.addresses:
            self._add(account, address, answer.name, until)
        return answer.text

    def reader(self, call: Syscall, container: ContainerName | None) -> Callable[[str], str | None] | None:
        """Return a function from an address to the names that the caller's user looked up; None if there are no names.

        The newest comes first, and blanks separate them. Arguments as for receive.
        """
        if not self._known:
            return None
        return partial(self._names, _account(container, call.who.uid), call.who.time)

    def _names(self, account: Account, now: int, address: str) -> str | None:
        found: dict[str, None] = {}
        for each in (account, _ALL):
            names = self._known.get(each, {}).get(address, {})
            found.update((name, None) for name in reversed(names) if names[name] >= now)
        return " ".join(found) or None

    def _add(self, account: Account, address: str, name: str, until: int) -> None:
        addresses = self._known.setdefault(account, {})
        names = addresses.pop(address, None)
        if names is None:
            self._count += 1
            names = {}
        names.pop(name, None)
        names[name] = until
        if len(names) > MAX_NAMES:
            del names[next(iter(names))]
        addresses[address] = names
        if self._count > MAX_ADDRESSES:
            most = max(self._known, key=lambda each: len(self._known[each]))
            del self._known[most][next(iter(self._known[most]))]
            self._count -= 1
            if not self._known[most]:
                del self._known[most]


def _account(container: ContainerName | None, uid: int) -> Account:
    return "" if container is None else container.certain_key, uid if uid < _BLOCK else uid - uid % _BLOCK
