"""Descriptors of the captured processes, as Falco's library numbers and names them (libscap scap.h, fdinfo.cpp)."""

from dataclasses import dataclass

from lanner.captures.lists import ListedDescriptor

FILE, DIRECTORY, IPV4, IPV6, SERVER4, SERVER6, FIFO, UNIX, EVENT = 1, 2, 3, 4, 5, 6, 7, 8, 9
UNSUPPORTED, SIGNALFD, EVENTPOLL, INOTIFY, TIMERFD, NETLINK, FILE_V2, BPF = 10, 11, 12, 13, 14, 15, 16, 17
USERFAULTFD, IO_URING, MEMFD, PIDFD = 18, 19, 20, 21
UNKNOWN = 0
_TYPES = (
    *("<NA>", "file", "directory", "ipv4", "ipv6", "ipv4", "ipv6", "pipe", "unix", "event", "<NA>", "signalfd"),
    *("eventpoll", "inotify", "timerfd", "netlink", "file", "bpf", "userfaultfd", "io_uring", "memfd", "pidfd"),
)
_CHARACTERS = "ofd4646puexslitnfburmP"
SERVERS, CONNECTIONS = frozenset({SERVER4, SERVER6}), frozenset({IPV4, IPV6})
INTERNET = SERVERS | CONNECTIONS
_PROTOCOLS = {2: "tcp", 3: "udp", 4: "icmp", 5: "raw"}
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
    """Whether this side is the server."""
    is_connected: bool = False
    pid: int = -1
    """The process behind a pidfd."""

    @property
    def type_name(self) -> str:
        """The value of fd.type; no descriptor of a capture has a missing one."""
        return _TYPES[self.type]

    @property
    def family(self) -> str | None:
        """The value of fd.sockfamily."""
        return "ip" if self.type in INTERNET else "unix" if self.type == UNIX else None

    @property
    def is_tcp(self) -> bool:
        """Whether it is a connection by TCP; Falco takes none of IPv6 for one."""
        return self.type == IPV4 and self.protocol == TCP

    @property
    def protocol_name(self) -> str:
        """The value of fd.l4proto."""
        return _PROTOCOLS.get(self._shown_protocol, "<NA>")

    @property
    def _shown_protocol(self) -> int:
        """The protocol, 0 until the role of a connection is known."""
        if self.type in SERVERS or (self.type in CONNECTIONS and (self.is_server is not None or self.protocol == RAW)):
            return self.protocol
        return 0

    @property
    def label(self) -> str:
        """How arguments show it: ``<f>/etc/passwd``, ``<4t>10.0.0.1:41000->10.0.0.2:80``."""
        protocol = _PROTOCOLS.get(self._shown_protocol, "")[:1]
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
