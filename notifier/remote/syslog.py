"""A syslog daemon as a sink, near or far: UDP, TCP, TLS or a unix socket.

Syslog has no acknowledgement. Over TCP and TLS an alert counts as accepted when the far kernel has acknowledged its
bytes. What that kernel took and the daemon never read is told by a reset of the connection (RFC 9293, section 3.10.7):
then what was sent in the last seconds is sent again.
"""

import fcntl
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from notifier.delivery.http_errors import in_words
from notifier.delivery.outcome import Delivered, RetryLater, RoutedAlert, SendOutcome
from notifier.formats.rfc5424 import octet_counted
from schemas.alert import Alert

Transport = Literal["udp", "tcp", "tls", "unix"]

CONNECT_SECONDS = 5.0
SEND_SECONDS = 10.0
KEPT_SECONDS = 5.0
"""What a reset may have taken along: a daemon that lives reads its socket sooner than that."""
KEPT_MESSAGES = 2000
TOGETHER = 64
_SIOCOUTQ = 0x5411
"""Asks how many bytes the far kernel has not acknowledged. Source: linux/sockios.h, tcp(7)."""


@dataclass(frozen=True, slots=True)
class SyslogTarget:
    """Where a daemon listens."""

    transport: Transport
    host: str = ""
    port: int = 514
    path: str = ""
    """Of a unix socket."""


class RemoteSyslogSink:
    """Keeps one connection, and makes it anew when it breaks."""

    def __init__(
        self,
        target: SyslogTarget,
        message_of: Callable[[Alert], bytes],
        *,
        context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin unconnected; context is for TLS, message_of makes a message without framing."""
        self._target = target
        self._message_of = message_of
        self._context = context
        self._clock = clock
        self._streams = target.transport in ("tcp", "tls")
        self.most = TOGETHER if self._streams else 1
        self._socket: socket.socket | None = None
        self._kept: deque[tuple[float, bytes]] = deque(maxlen=KEPT_MESSAGES)
        self._again: list[bytes] = []

    def offer(self, parcels: Sequence[RoutedAlert]) -> SendOutcome:
        """Send the alerts, and wait until the far kernel has them."""
        messages = [self._message_of(parcel.told) for parcel in parcels]
        try:
            if self._socket is not None and self._streams and not self._lives():
                self._lose()
            if self._socket is None:
                self._socket = self._connected()
            if not self._streams:
                for each in messages:
                    self._socket.send(each)
                return Delivered(len(messages))
            self._stream([octet_counted(each) for each in messages])
        except (OSError, ValueError) as error:
            self._lose()
            return RetryLater(in_words(error))
        return Delivered(len(messages))

    def tend(self) -> None:
        """See whether the daemon closed the connection, and send again what a reset took along."""
        if self._socket is None or not self._streams or self._lives():
            return
        self._lose()
        if not self._again:
            return
        try:
            self._socket = self._connected()
            self._stream([])
        except (OSError, ValueError):
            # They stay kept, and go first when the next alert comes.
            self._close()

    def reopen(self) -> None:
        """Connect anew with the next alert."""
        self._close()

    def close(self) -> None:
        """Let go of the connection."""
        self._close()

    def _stream(self, frames: list[bytes]) -> None:
        """Send frames, those that may be lost first. Raises OSError."""
        assert self._socket is not None  # noqa: S101  both callers have connected
        everything = [*self._again, *frames]
        self._socket.sendall(b"".join(everything))
        self._await_acknowledgement(self._socket)
        self._again = []
        now = self._clock()
        self._kept.extend((now, frame) for frame in everything)

    def _await_acknowledgement(self, connection: socket.socket) -> None:
        until = self._clock() + SEND_SECONDS
        wait = 0.0001
        while _unacknowledged(connection):
            error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, "the connection broke")
            if self._clock() > until:
                raise TimeoutError
            time.sleep(wait)
            wait = min(wait * 2, 0.02)

    def _lives(self) -> bool:
        """Tell whether the connection stands; a syslog daemon sends nothing, so whatever comes is its end."""
        assert self._socket is not None  # noqa: S101  asked of connections only
        self._socket.setblocking(False)
        try:
            while self._socket.recv(4096):
                pass
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._socket.settimeout(SEND_SECONDS)
            return True
        except OSError:
            return False
        # An end in good order over TCP says that all was read. TLS says its farewell before that is known.
        if self._target.transport == "tcp":
            self._kept.clear()
        return False

    def _lose(self) -> None:
        """Give a broken connection up, and put aside what it may have taken along."""
        since = self._clock() - KEPT_SECONDS
        if self._socket is not None:
            self._again += [frame for at, frame in self._kept if at >= since]
            self._kept.clear()
        self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        """Connect. Raises OSError."""
        target = self._target
        if target.transport == "unix":
            return _datagrams(socket.AF_UNIX, target.path)
        if target.transport == "udp":
            family, _, _, _, address = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)[0]
            return _datagrams(family, address)
        plain = socket.create_connection((target.host, target.port), timeout=CONNECT_SECONDS)
        try:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A far host that vanished is noticed by this, also while nothing is to be sent.
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SEND_SECONDS * 1000))
            if self._context is not None:
                plain = self._context.wrap_socket(plain, server_hostname=target.host)
            plain.settimeout(SEND_SECONDS)
        except BaseException:
            plain.close()
            raise
        return plain


def _datagrams(family: socket.AddressFamily, address: tuple[Any, ...] | str) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        made.settimeout(SEND_SECONDS)
        made.connect(address)
    except OSError:
        made.close()
        raise
    return made


def _unacknowledged(connection: socket.socket) -> int:
    return int(struct.unpack("i", fcntl.ioctl(connection.fileno(), _SIOCOUTQ, b"\0\0\0\0"))[0])
