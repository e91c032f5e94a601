"""Which connection a server closes when a new one comes and all are in use, and whose connections they are.

Anyone who reaches a port can open connections and send nothing. So a connection that keeps the server waiting makes
room for a new one before any whose client waits for the server, and who sends a request at once is answered, however
many connections others have.
"""

import ipaddress
import socket
import struct
from collections import Counter
from collections.abc import Collection
from enum import IntEnum
from typing import Protocol, TypeVar

from foundation.text import OnNote, ignore_note

REASONS = ("evicted", "refused", "timeout")
"""Why a server closes connections: to make room, for lack of room, because the request was not complete in time."""
_NOTE_SECONDS = 600.0


class Waits(IntEnum):
    """Which side of a connection waits; lower values are closed first."""

    IDLE = 0
    """The server, for another request; the client can open a connection for it."""
    REQUEST = 1
    """The server, for a handshake, the first request, or the rest of a request."""
    ANSWER = 2
    """The server, for the client to read what was sent."""
    SERVER = 3
    """The client, for the server."""


class Connected(Protocol):
    """A connection or stream of a client."""

    group: str
    """The key of its client: all with one key count as one."""
    since: float
    """When it was opened, or its latest request was answered; monotonic seconds."""
    is_known: bool
    """True if the client has shown a token, a session or a certificate."""

    @property
    def waits(self) -> Waits:
        """Which side waits."""


C = TypeVar("C", bound=Connected)


def to_close(connected: Collection[C], newcomer: C, most: int, reserved: int = 0) -> C | None:
    """Return the connection to close so that a new one fits; the new one if all others are in use; None if it fits.

    The client with the most connections that keep the server waiting loses the oldest of them. If all clients wait for
    the server, the one with the most connections loses one, unless that is the client of the new one.

    Args:
        connected: the open connections, without the new one.
        newcomer: the new one.
        most: the number of connections that fit.
        reserved: how many of them are only for clients that are known.
    """
    if len(connected) < most - reserved:
        return None
    pool = [each for each in connected if not each.is_known]
    if len(pool) < most - reserved:
        if len(connected) < most:
            return None
        # Those who are known have more than what is reserved for them.
        pool = [each for each in connected if each.is_known]
    waits = {each: each.waits for each in pool}
    waiting = [each for each in pool if waits[each] is not Waits.SERVER]
    sizes = Counter(each.group for each in waiting or (*pool, newcomer))
    largest = max(sizes.values())
    if not waiting and sizes[newcomer.group] == largest:
        return newcomer
    return min(
        (each for each in waiting or pool if sizes[each.group] == largest), key=lambda each: (waits[each], each.since)
    )


class ConnectionBound:
    """The limit on a server's connections, and what it caused."""

    def __init__(self, name: str, most: int, reserved: int = 0, report: OnNote = ignore_note) -> None:
        """Create a limit; so many of the connections are reserved for clients that are known.

        report: called at most once in ten minutes when connections are closed for lack of room.
        """
        self.name = name
        self.closed = Counter[str](dict.fromkeys(REASONS, 0))
        """Connections that the server closed, by reason."""
        self._most, self._reserved = most, reserved
        self._report = report
        self._reported_at = float("-inf")

    def admit(self, connected: Collection[C], newcomer: C) -> C | None:
        """Return what `to_close` returns; count and report it."""
        closed = to_close(connected, newcomer, self._most, self._reserved)
        if closed is not None:
            self.closed["refused" if closed is newcomer else "evicted"] += 1
            if newcomer.since - self._reported_at >= _NOTE_SECONDS:
                self._reported_at = newcomer.since
                group, number = Counter(each.group for each in connected).most_common(1)[0]
                self._report(
                    f"{self.name}: all connections are in use, {number} of {len(connected)} by {group}: the oldest "
                    "without a request are closed.",
                    "warning",
                )
        return closed


def address_group(address: str) -> str:
    """Return what counts as one client: an IPv4 address, a /64 of IPv6, or all of the loopback addresses."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    found = getattr(found, "ipv4_mapped", None) or found
    if found.is_loopback:
        return "this host"
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))


_SOCK_DIAG, _BY_FAMILY, _REQUEST = 4, 20, 1
_ANY_STATE, _NO_COOKIE = 0xFFFFFFFF, 0xFFFFFFFF
_MESSAGE, _SOCKET = struct.Struct("=IHHII"), struct.Struct("!HH16s16s")
_USER_AND_INODE = struct.Struct("=II")
_USER_AT = _MESSAGE.size + 64


class ClientGroups:
    """Finds out whose connection it is: of a user, if it comes from this host, else of an address.

    All users of a host share its addresses. Source: sock_diag(7), struct inet_diag_msg.
    """

    def __init__(self) -> None:
        try:
            self._netlink: socket.socket | None = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG)
            self._netlink.setblocking(False)
            self._netlink.connect((0, 0))
        except OSError:
            # A sandbox without netlink: the addresses have to do.
            self._netlink = None

    def of(self, connection: socket.socket) -> str:
        """Return what counts as one client; empty if the connection is closed."""
        try:
            own, peer = connection.getsockname(), connection.getpeername()
        except OSError:
            return ""
        user = self._user(connection.family, own, peer)
        return address_group(peer[0]) if user is None else f"user {user} of this host"

    def close(self) -> None:
        """Close the socket to the kernel."""
        if self._netlink is not None:
            self._netlink.close()

    def _user(self, family: int, own: tuple[str, int], peer: tuple[str, int]) -> int | None:
        """Return the user whose process has the other end; None if it is on another host, or not known."""
        if self._netlink is None:
            return None
        ends = [socket.inet_pton(family, each[0].partition("%")[0]).ljust(16, b"\0") for each in (peer, own)]
        body = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, _ANY_STATE)
        body += _SOCKET.pack(peer[1], own[1], *ends) + struct.pack("=III", 0, _NO_COOKIE, _NO_COOKIE)
        try:
            self._netlink.send(_MESSAGE.pack(_MESSAGE.size + len(body), _BY_FAMILY, _REQUEST, 0, 0) + body)
            answer = self._netlink.recv(4096)
        except OSError:
            return None
        if len(answer) < _USER_AT + _USER_AND_INODE.size or _MESSAGE.unpack_from(answer)[1] != _BY_FAMILY:
            return None
        user, inode = _USER_AND_INODE.unpack_from(answer, _USER_AT)
        # Without an inode, the other end is closed, and the kernel has forgotten whose it was.
        return int(user) if inode else None
