"""The names of what programs connect to: answers of name servers and ClientHellos of TLS in, names out.

An answer names the addresses to which its reader connects later. A ClientHello names the server for the call that sends
its end.
"""

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from collector.events.system_calls import BY_EVENT, CALLS, DescriptorFlag
from collector.events.texts import socket_address
from collector.processes.container_names import ContainerName
from collector.records.dns import DnsAnswer, parse
from collector.records.tls import MAX_BYTES, begins_hello
from collector.records.tls import parse as parse_hello
from collector.records.types import Socket, Syscall
from foundation.caches import BoundedMap, SizedMap

PORT = 53
"""The port of name servers."""
MAX_ADDRESSES = 16_384
"""Addresses of all users together that have names."""
MAX_NAMES = 4
"""Names of an address that a user looked up; the newest are stored."""
MAX_CHARACTERS = 253
"""The longest name that is stored: no host's is longer, but escaped bytes take four characters each."""
MAX_USERS = 512
"""Users of a container, or of the host, that have names; beyond that, whoever was answered longest ago loses theirs. As
many users, of all containers, may have begun to receive answers by TCP."""
MAX_STREAMS = 16
"""TCP connections of a user on which the rest of an answer may follow."""
GRACE = 600
"""Seconds for which a name counts after its time to live, because programs store addresses longer."""
RESOLVERS = frozenset({"systemd-resolve", "unbound", "dnsmasq", "_dnsmasq", "bind", "named", "nscd"})
"""Users of the host, beside root, whose programs look up names for others."""

MAX_PARSED, MAX_PARSED_BYTES = 2_048, 1 << 20
"""Messages whose contents are stored, and bytes of all together: programs look up the same names again and again."""

_ANSWERED = frozenset(call.number for call in CALLS if call.flags & DescriptorFlag.ANSWERS)
_INTERNET = frozenset({socket.AF_INET, socket.AF_INET6})
_ID = 2
"""Bytes at the beginning of a message, by which a program finds its question: equal answers differ in them alone."""
_NANOSECONDS = 10**9
_MANY = BY_EVENT["recvmmsg"].number
_BLOCK = 65_536
"""From this id on, one user may own a block of as many (subuid(5))."""
_SHARE = 8
"""If there are too many addresses or hellos, the user who has most loses the oldest, this part of their own."""
_FIRST_FREE = 1024
"""Programs that ask have a local port from this one on."""
_PREFIX = 2
"""Bytes before a message in a stream, which are its length."""
_MOST_BYTES = _PREFIX + 1023
"""Bytes of a message in a stream that are stored; as many follow the length as are read of a datagram."""

Account = tuple[str, int]
"""A container that a user can't have made, empty for the host, and a user or a block of users."""
_ALL: Account = ("", -1)


_Ends = tuple[int, str, int, str, int]
"""A process and both ends of its connection."""

MAX_OPEN_HELLOS = 256
"""Sockets of all users together whose hello is not complete yet."""
MAX_HELLO_CALLS = 32
"""Calls by which a hello may be sent."""
_HELLOS = frozenset(call.number for call in CALLS if call.flags & DescriptorFlag.HELLOS)
_TCP = frozenset({socket.IPPROTO_TCP, 262})
"""262 is MPTCP."""


@dataclass(frozen=True, slots=True)
class _Pieces:
    """The beginning of a message in a stream, after its length."""

    data: bytes
    """At most _MOST_BYTES, length included."""
    received: int
    """Bytes that the program has received; more than there are in data if that is full or some were not read."""

    @property
    def size(self) -> int | None:
        """Bytes of the message and its length; None if that is not complete."""
        return None if len(self.data) < _PREFIX else _PREFIX + int.from_bytes(self.data[:_PREFIX], "big")

    def joined(self, data: bytes, received: int) -> "_Pieces":
        """Add what a call received, of which data is the beginning."""
        is_whole = len(self.data) == self.received
        return _Pieces((self.data + data)[:_MOST_BYTES] if is_whole else self.data, self.received + received)


def is_piece(call: Syscall) -> bool:
    """Return whether a call received a part of a stream of a name server: an equal one means something else there."""
    sock = call.socket
    return sock is not None and sock.type == socket.SOCK_STREAM and _is_answered(call, sock)


class LookedUpNames:
    """The names by which addresses were looked up on a host, for each user.

    An answer counts for the user who received it, in the same container, because users can answer themselves; what root
    and RESOLVERS receive on the host counts for all. If there are too many, the container that has most loses the
    oldest of its user who has most; the host is like a container. Cgroups that users make are no containers here, so
    that nobody has many accounts.

    Args:
        on_change: called with an account, None for all, and an address whose names have changed for it.
    """

    def __init__(self, on_change: Callable[[Account | None, str], None] = lambda _account, _address: None) -> None:
        self.unreadable = 0
        """Messages of name servers that could not be parsed."""
        self._on_change = on_change
        # By container, user and address, the names with the time until which they count; the newest last.
        self._known: dict[str, dict[int, dict[str, dict[str, int]]]] = {}
        self._count = 0
        self._counts: dict[str, int] = {}
        """Addresses by container."""
        self._streams: dict[Account, BoundedMap[_Ends, _Pieces]] = {}
        self._parsed: SizedMap[bytes, tuple[DnsAnswer, str]] = SizedMap(MAX_PARSED, MAX_PARSED_BYTES)
        """Answers with their texts, by their messages without the id."""

    @property
    def is_used(self) -> bool:
        """True if there are names."""
        return bool(self._known)

    def receive(self, call: Syscall, container: ContainerName | None, user: str | None) -> list[str]:
        """Store the answers that a call received, and return them as batches have them: several only of a stream.

        Args:
            call: by a process on the host or in a container.
            container: the container; None on the host.
            user: the name of the process's user.
        """
        sock = call.socket
        if sock is None or not _is_answered(call, sock):
            return []
        account = account_of(container, call.who.uid)
        counts_for = _counts_for(account, sock, container, user)
        texts = []
        try:
            for message in self._messages(call, sock, account):
                known = self._parsed.get(message[_ID:]) or self._parse(message)
                if known is None:
                    continue
                answer, text = known
                texts.append(text)
                if counts_for is not None:
                    self._store(answer, call.who.time, counts_for)
        except ValueError:
            self.unreadable += 1
        return texts

    def reader(self, call: Syscall, container: ContainerName | None) -> "NamesOf | None":
        """Return the names that the caller's user looked up; None if there are no names. Arguments as for receive."""
        return NamesOf(self, account_of(container, call.who.uid), call.who.time) if self._known else None

    def names(self, account: Account, now: int, address: str) -> str | None:
        """Return the names of an address that count for an account at a time, ns; None if there are none.

        The newest comes first, and blanks separate them.
        """
        found: dict[str, None] = {}
        for container, user in (account, _ALL):
            names = self._known.get(container, {}).get(user, {}).get(address, {})
            found.update((name, None) for name in reversed(names) if names[name] >= now)
        return " ".join(found) or None

    def _parse(self, message: bytes) -> tuple[DnsAnswer, str] | None:
        """Return what a message answers, with its text; None if nothing. Raises ValueError."""
        answer = parse(message)
        if answer is None:
            return None
        known = answer, answer.text
        self._parsed.put(message[_ID:], known, len(message) + len(known[1]))
        return known

    def _store(self, answer: DnsAnswer, now: int, account: Account) -> None:
        until = now + (answer.seconds + GRACE) * _NANOSECONDS
        for address in answer.addresses if len(answer.name) <= MAX_CHARACTERS else ():
            if self._add(account, address, answer.name, now, until):
                self._on_change(None if account == _ALL else account, address)

    def _add(self, account: Account, address: str, name: str, now: int, until: int) -> bool:
        """Add a name; return whether the names of the address are others now, or in another order."""
        container, user = account
        users = self._known.setdefault(container, {})
        # Whoever was answered last comes last.
        addresses = users.pop(user, {})
        users[user] = addresses
        names = addresses.pop(address, None)
        if names is None:
            self._count += 1
            self._counts[container] = self._counts.get(container, 0) + 1
            names = {}
        is_known = next(reversed(names), None) == name and names[name] >= now
        names.pop(name, None)
        names[name] = until
        if len(names) > MAX_NAMES:
            del names[next(iter(names))]
        addresses[address] = names
        if len(users) > MAX_USERS:
            self._forget(container, next(iter(users)), MAX_ADDRESSES)
        if self._count > MAX_ADDRESSES:
            most = max(self._counts, key=self._counts.__getitem__)
            users = self._known[most]
            largest = max(users, key=lambda each: len(users[each]))
            # Several at once, because finding this user takes as long as there are users.
            self._forget(most, largest, len(users[largest]) // _SHARE + 1)
        return not is_known

    def _forget(self, container: str, user: int, count: int) -> None:
        """Remove the oldest addresses of a user."""
        users = self._known[container]
        addresses = users[user]
        for address in list(islice(addresses, count)):
            del addresses[address]
            self._counts[container] -= 1
            self._count -= 1
        if not addresses:
            del users[user]
        if not users:
            del self._known[container], self._counts[container]

    def _messages(self, call: Syscall, sock: Socket, account: Account) -> Iterator[bytes]:
        """Yield the messages of which a call received the end."""
        data = call.blob1
        if sock.type != socket.SOCK_STREAM:
            yield data
            return
        ends = (call.who.pid, sock.local_ip, sock.local_port, sock.remote_ip, sock.remote_port)
        streams = self._streams.get(account)
        pieces = None if streams is None else streams.pop(ends)
        if pieces is None:
            # The other reading has 256 or more questions: the length was received before Lanner ran.
            if data[4:6] == b"\0\1":
                yield data
                return
            pieces = _Pieces(b"", 0)
        # The result of recvmmsg is a number of messages.
        pieces = pieces.joined(data, len(data) if call.event == _MANY else call.result)
        while (size := pieces.size) is not None and pieces.received >= size:
            yield pieces.data[_PREFIX:size]
            pieces = _Pieces(pieces.data[size:], pieces.received - size)
            if len(pieces.data) < min(pieces.received, _PREFIX):
                # What was not read can't be followed.
                return
        if pieces.received:
            if streams is None:
                if len(self._streams) >= MAX_USERS:
                    most = Counter(container for container, _ in self._streams).most_common(1)[0][0]
                    del self._streams[next(each for each in self._streams if each[0] == most)]
                streams = self._streams[account] = BoundedMap(MAX_STREAMS)
            streams.put(ends, pieces)
        elif streams is not None and not len(streams):
            del self._streams[account]


@dataclass(slots=True)
class NamesOf:
    """The names of addresses for the user of one call."""

    looked_up: LookedUpNames
    account: Account
    time: int
    address: str | None = None
    """The last address whose names were read."""

    def __call__(self, address: str) -> str | None:
        """Return the names of an address, the newest first, with blanks between them; None if it has none."""
        self.address = address
        return self.looked_up.names(self.account, self.time, address)


def _is_answered(call: Syscall, sock: Socket) -> bool:
    """Return whether a call received something from a name server."""
    if call.result <= 0 or not call.blob1 or call.event not in _ANSWERED:
        return False
    server = (sock.remote_ip, sock.remote_port) if sock.remote_port else socket_address(call.blob2)
    return server is not None and server[1] == PORT and sock.family in _INTERNET


def account_of(container: ContainerName | None, uid: int) -> Account:
    """Return the account of a process. container: where it runs; None on the host."""
    return "" if container is None else container.certain_key, uid if uid < _BLOCK else uid - uid % _BLOCK


def _counts_for(account: Account, sock: Socket, container: ContainerName | None, user: str | None) -> Account | None:
    """Return the account for which an answer counts that an account received by a socket; None for nobody."""
    if not sock.remote_port and sock.local_port < _FIRST_FREE:
        # Anyone may send to a server.
        return None
    is_for_all = container is None and (user in RESOLVERS or (account[1] == 0 and sock.remote_port))
    return _ALL if is_for_all else account


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
            hello = parse_hello(data)
        except ValueError:
            self.unreadable += 1
            return None, True
        if not hello.is_cut:
            return hello.server_name, True
        if len(data) < MAX_BYTES and calls < MAX_HELLO_CALLS:
            self._open[call.socket_inode] = _Beginning(before.account, data, calls)
        else:
            self.unreadable += 1
        if len(self._open) > MAX_OPEN_HELLOS:
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
