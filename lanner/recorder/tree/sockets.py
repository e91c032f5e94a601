"""The two ends of connections, by which processes of different containers and hosts are joined.

Pure: takes events, returns pairs of addresses.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from schemas.batch import EventBatch

_MAPPED = "::ffff:"
"""Before an IPv4 address of a socket that takes both kinds."""
_SSH = "SSH_CONNECTION="
_WORDS = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class SocketPair:
    """The addresses and ports of a connection, as one of its ends sees them."""

    local: str
    local_port: int
    remote: str
    remote_port: int

    @property
    def mirrored(self) -> "SocketPair":
        """The connection as the other end sees it, unless addresses are translated in between."""
        return SocketPair(self.remote, self.remote_port, self.local, self.local_port)

    @property
    def is_loopback(self) -> bool:
        """Whether both ends are on one host, whatever other hosts have the same addresses."""
        try:
            return ip_address(self.remote).is_loopback or ip_address(self.local).is_loopback
        except ValueError:
            return True

    def __str__(self) -> str:
        return f"{self.local}:{self.local_port} -> {self.remote}:{self.remote_port}"


def socket_of(batch: EventBatch, index: int) -> SocketPair | None:
    """Return the connection that an event is about; None if both ends aren't known."""
    columns, strings = batch.columns, batch.strings
    local_port, remote_port = columns["local_port"][index], columns["remote_port"][index]
    if local_port <= 0 or remote_port <= 0:
        return None
    local, remote = strings[columns["local_ip"][index]], strings[columns["remote_ip"][index]]
    return SocketPair(plain(local), local_port, plain(remote), remote_port) if local and remote else None


def ssh_socket(environment: Iterable[str] | None) -> SocketPair | None:
    """Return the connection of the ssh session that a process belongs to, if that variable is collected."""
    value = next((each.removeprefix(_SSH) for each in environment or () if each.startswith(_SSH)), "")
    parts = _WORDS.findall(value)
    if len(parts) != 4 or not all(port.isascii() and port.isdigit() and len(port) <= 5 for port in parts[1::2]):
        return None
    remote, remote_port, local, local_port = parts
    return SocketPair(plain(local), int(local_port), plain(remote), int(remote_port))


def plain(address: str) -> str:
    """Return an address in the form that both ends state."""
    return address.removeprefix(_MAPPED) if "." in address else address
