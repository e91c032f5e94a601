"""Descriptors of the captured processes, as Falco's library numbers and names them (libscap scap.h, fdinfo.cpp)."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from lanner.captures.format.lists import Interface, ListedDescriptor

FILE, DIRECTORY, IPV4, IPV6, SERVER4, SERVER6, FIFO, UNIX, EVENT = 1, 2, 3, 4, 5, 6, 7, 8, 9
UNSUPPORTED, SIGNALFD, EVENTPOLL, INOTIFY, TIMERFD, NETLINK, FILE_V2, BPF = 10, 11, 12, 13, 14, 15, 16, 17
USERFAULTFD, IO_URING, MEMFD, PIDFD = 18, 19, 20, 21
UNKNOWN = 0
TYPES = (
    *("<NA>", "file", "directory", "ipv4", "ipv6", "ipv4", "ipv6", "pipe", "unix", "event", "<NA>", "signalfd"),
    *("eventpoll", "inotify", "timerfd", "netlink", "file", "bpf", "userfaultfd", "io_uring", "memfd", "pidfd"),
)
"""The value of fd.type by the number of a type; several types have the same value."""
_CHARACTERS = "ofd4646puexslitnfburmP"
SERVERS, CONNECTIONS = frozenset({SERVER4, SERVER6}), frozenset({IPV4, IPV6})
INTERNET = SERVERS | CONNECTIONS
PROTOCOLS = {2: "tcp", 3: "udp", 4: "icmp", 5: "raw"}
TCP, UDP, ICMP, RAW = 2, 3, 4, 5
O_CLOEXEC = 1 << 12
O_DIRECTORY = 1 << 10
UPPER_LAYER, LOWER_LAYER = 1 << 15, 1 << 16
MAX_DESCRIPTORS = 65536
"""Descriptors that are followed of one process."""
End = tuple[str, int]
"""Address and port."""
UNSPECIFIED: End = ("0.0.0.0", 0)  # noqa: S104 - as Falco shows it


@dataclass(slots=True)
class OpenDescriptor:
    """One open descriptor."""

    type: int = UNKNOWN
    name: str = ""
    raw_name: str | None = None
    flags: int = 0
    dev: int = 0
    ino: int = 0
    source: End | None = None
    """The client's end, or that of a socket without a role."""
    target: End | None = None
    """The server's end."""
    protocol: int = 0
    is_server: bool | None = None
    """True if this side is the server."""
    is_connected: bool = False
    pid: int = -1
    """The process behind a pidfd."""

    @property
    def type_name(self) -> str:
        """The value of fd.type; no descriptor of a capture has a missing one."""
        return TYPES[self.type]

    @property
    def family(self) -> str | None:
        """The value of fd.sockfamily."""
        return "ip" if self.type in INTERNET else "unix" if self.type == UNIX else None

    @property
    def is_tcp(self) -> bool:
        """True if it is a connection by TCP; Falco takes none of IPv6 for one."""
        return self.type == IPV4 and self.protocol == TCP

    @property
    def protocol_name(self) -> str:
        """The value of fd.l4proto."""
        return PROTOCOLS.get(self._shown_protocol, "<NA>")

    @property
    def _shown_protocol(self) -> int:
        """The protocol, 0 until the role of a connection is known."""
        if self.type in SERVERS or (self.type in CONNECTIONS and (self.is_server is not None or self.protocol == RAW)):
            return self.protocol
        return 0

    @property
    def label(self) -> str:
        """How arguments show it: ``<f>/etc/passwd``, ``<4t>10.0.0.1:41000->10.0.0.2:80``."""
        protocol = PROTOCOLS.get(self._shown_protocol, "")[:1]
        return f"<{_CHARACTERS[self.type]}{protocol}>{self.name}"

    def name_socket(self) -> None:
        """Name an internet socket by its ends."""
        if self.type in SERVERS:
            self.name = "" if self.target is None else f"{self.target[0]}:{self.target[1]}"
        else:
            ends = (self.source or UNSPECIFIED, self.target or UNSPECIFIED)
            self.name = "->".join(f"{ip}:{port}" for ip, port in ends)

    def set_ends(self, source: End, target: End) -> bool:
        """Set the ends of a connection; return False if they are those known."""
        former = self.source, self.target
        was_server = self.type in SERVERS
        self.type = IPV6 if ":" in source[0] or ":" in target[0] else IPV4
        if not was_server and former in {(source, target), (target, source)}:
            return False
        self.source, self.target = source, target
        return True

    def name_connection(self) -> None:
        """Name a connected internet socket, by what Falco shows of its protocol."""
        if self.protocol in {ICMP, RAW}:
            self.name = "->".join(end[0] for end in (self.source, self.target) if end is not None)
        elif self.protocol not in {TCP, UDP}:
            self.name = "<unknown>"
        else:
            self.name_socket()

    def copied(self, flags: int = 0) -> "OpenDescriptor":
        """Return a duplicate, which is closed at an exec only if the flags contain O_CLOEXEC."""
        # Not dataclasses.replace: processes with many descriptors fork often, and it takes four times as long.
        return OpenDescriptor(
            self.type,
            self.name,
            self.raw_name,
            self.flags & ~O_CLOEXEC | flags & O_CLOEXEC,
            self.dev,
            self.ino,
            self.source,
            self.target,
            self.protocol,
            self.is_server,
            self.is_connected,
            self.pid,
        )


def listed(given: ListedDescriptor) -> OpenDescriptor:
    """Return a descriptor of the list at the beginning of a capture."""
    found = OpenDescriptor(given.type, given.name, None, given.flags, given.dev, given.ino, protocol=given.protocol)
    if given.type in SERVERS:
        found.target = given.local
        found.name_socket()
    elif given.type in CONNECTIONS:
        found.set_ends(given.local or UNSPECIFIED, given.remote or UNSPECIFIED)
        found.is_connected = given.protocol == TCP
        found.name_connection()
    return found


_ANY = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - addresses that a capture contains
_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_MAX_INTERFACES = 1024
"""All are gone through for some events."""


class Interfaces:
    """The addresses of the captured host."""

    def __init__(self) -> None:
        self._all: dict[int, list[tuple[Interface, int]]] = {4: [], 6: []}
        """By version, each with the number of its network."""
        self._addresses: set[str] = set()
        self._networks: set[int] = set()

    def add(self, interface: Interface) -> None:
        """Add an address."""
        if sum(map(len, self._all.values())) < _MAX_INTERFACES:
            version = _version(interface.address)
            network = _network(interface.address, interface.netmask)
            self._all[version].append((interface, network))
            self._addresses.add(interface.address)
            if version == 6:
                self._networks.add(network)

    def is_local(self, address: str) -> bool:
        """Return whether an address is the host's; of IPv6, whether it is in one of its networks, as in Falco."""
        return address in self._addresses or (_version(address) == 6 and _network(address, 0) in self._networks)

    def complete(self, descriptor: OpenDescriptor) -> None:
        """Fill in the address that a socket was not bound to, or that a datagram was not sent to."""
        source, target = descriptor.source, descriptor.target
        if source is None or target is None:
            return
        version = _version(source[0])
        unspecified = _ANY[version]
        if unspecified not in {source[0], target[0]}:
            return
        is_source = source[0] == unspecified
        known = target[0] if is_source else source[0]
        own = self._towards(known, version)
        if own == known and source[1] == target[1]:
            return
        if is_source:
            descriptor.source = (own, source[1])
        else:
            descriptor.target = (own, target[1])

    def _towards(self, address: str, version: int) -> str:
        if address in self._addresses:
            return address
        number = _number(address)
        for each, network in self._all[version]:
            if network == (number >> 64 if version == 6 else number & each.netmask):
                return each.address
        return next((each.address for each, _ in self._all[version] if each.address not in _LOOPBACK), _ANY[version])


def _version(address: str) -> int:
    return 6 if ":" in address else 4


def _number(address: str) -> int:
    return int(IPv6Address(address) if ":" in address else IPv4Address(address))


def _network(address: str, netmask: int) -> int:
    """Return the number of an address's network; netmask: of IPv4."""
    return _number(address) >> 64 if ":" in address else _number(address) & netmask
