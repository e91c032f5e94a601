"""A sink for syslog daemons over UDP, TCP, TLS or a Unix socket.

Syslog has no acknowledgement. Over TCP and TLS an alert counts as delivered when the remote kernel has acknowledged its
bytes. If the daemon never read them, the connection is reset (RFC 9293, section 3.10.7); then what was sent in the last
seconds is sent again.
"""

import fcntl
import os
import select
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from foundation.errors import LannerError
from notifier.formats.syslog import octet_counted
from notifier.sink import Delivered, RetryLater, RoutedAlert, SendOutcome, Sink
from notifier.sinks.http import failure_reason
from schemas.alert import Alert

Transport = Literal["udp", "tcp", "tls", "unix"]

CONNECT_SECONDS = 5.0
SEND_SECONDS = 10.0
RESEND_SECONDS = 5.0
"""How far back messages are sent again after a reset; a running daemon reads its socket sooner."""
RESEND_MESSAGES = 2000
BATCH_SIZE = 64
_RESET_MS = 200
"""Time in which a reset may follow an orderly close. A daemon that shuts the connection down, and then closes it with
unread data, causes both."""
_SIOCOUTQ = 0x5411
"""Returns the number of unacknowledged bytes. Source: linux/sockios.h, tcp(7)."""


@dataclass(frozen=True, slots=True)
class SyslogTarget:
    """Address of a daemon."""

    transport: Transport
    host: str = ""
    port: int = 514
    path: str = ""
    """Path of a Unix socket."""


class RemoteSyslogSink(Sink):
    """Keeps one connection open, and reconnects when it breaks."""

    def __init__(
        self,
        target: SyslogTarget,
        message_of: Callable[[Alert], bytes],
        *,
        context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create an unconnected sink; context is for TLS, message_of renders a message without framing."""
        self._target = target
        self._message_of = message_of
        self._context = context
        self._clock = clock
        self._streams = target.transport in ("tcp", "tls")
        self.batch_size = BATCH_SIZE if self._streams else 1
        self._socket: socket.socket | None = None
        self._sent: deque[tuple[float, bytes]] = deque(maxlen=RESEND_MESSAGES)
        self._resend: list[bytes] = []

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        """Send alerts, and wait until the remote kernel has acknowledged them."""
        messages = [self._message_of(routed.rendered) for routed in alerts]
        try:
            if self._socket is not None and self._streams and not self._is_open():
                self._drop()
            if self._socket is None:
                self._socket = self._connect()
            if not self._streams:
                for each in messages:
                    self._socket.send(each)
                return Delivered(len(messages))
            self._stream([octet_counted(each) for each in messages])
        except (OSError, ValueError) as error:
            self._drop()
            return RetryLater(failure_reason(error))
        return Delivered(len(messages))

    def idle(self) -> None:
        """Check whether the daemon closed the connection, and send again what a reset lost."""
        if self._socket is None or not self._streams or self._is_open():
            return
        self._drop()
        if not self._resend:
            return
        try:
            self._socket = self._connect()
            self._stream([])
        except (OSError, ValueError):
            # They stay in the list, and are sent before the next alert.
            self.close()

    def reopen(self) -> None:
        """Reconnect with the next alert."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _stream(self, frames: list[bytes]) -> None:
        """Send frames after those that a reset may have lost. Raises OSError."""
        assert self._socket is not None  # noqa: S101  both callers connect first
        everything = [*self._resend, *frames]
        self._socket.sendall(b"".join(everything))
        self._await_acknowledgement(self._socket)
        self._resend = []
        now = self._clock()
        self._sent.extend((now, frame) for frame in everything)

    def _await_acknowledgement(self, connection: socket.socket) -> None:
        until = self._clock() + SEND_SECONDS
        wait = 0.0001
        while _unacknowledged(connection):
            error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, os.strerror(error))
            if self._clock() > until:
                raise TimeoutError
            time.sleep(wait)
            wait = min(wait * 2, 0.02)

    def _is_open(self) -> bool:
        """Return whether the connection is open; a syslog daemon sends no data, so anything readable is its end."""
        assert self._socket is not None  # noqa: S101  callers check
        self._socket.setblocking(False)
        try:
            while self._socket.recv(4096):
                pass
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._socket.settimeout(SEND_SECONDS)
            return True
        except OSError:
            return False
        # An orderly close over TCP means that all was read. TLS sends its close alert before that is known.
        if self._target.transport == "tcp" and not _is_reset(self._socket):
            self._sent.clear()
        return False

    def _drop(self) -> None:
        """Close a broken connection, and mark for resending what it may have lost."""
        since = self._clock() - RESEND_SECONDS
        if self._socket is not None:
            self._resend += [frame for at, frame in self._sent if at >= since]
            self._sent.clear()
        self.close()

    def _connect(self) -> socket.socket:
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
            # Detects a remote host that vanished, even while nothing is sent.
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


def _is_reset(connection: socket.socket) -> bool:
    poller = select.poll()
    # Without an event to wait for, it reports errors only.
    poller.register(connection, 0)
    return bool(poller.poll(_RESET_MS))


def _unacknowledged(connection: socket.socket) -> int:
    return int(struct.unpack("i", fcntl.ioctl(connection.fileno(), _SIOCOUTQ, b"\0\0\0\0"))[0])


class BadCertificate(LannerError):
    """A certificate or key file can't be used; the message names it."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files; an empty path means none."""

    ca_file: str = ""
    """Authorities to trust instead of the system's."""
    certificate_file: str = ""
    key_file: str = ""


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Return a context that verifies the server. Raises BadCertificate."""
    named = ", ".join(filter(None, (files.ca_file, files.certificate_file, files.key_file)))
    try:
        context = ssl.create_default_context(cafile=files.ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if files.certificate_file:
            # Without a password callback, OpenSSL would prompt for the key's password on the terminal.
            context.load_cert_chain(files.certificate_file, files.key_file or None, password=lambda: "")
    except ssl.SSLError as error:
        raise BadCertificate(f"{named}: {error.reason or 'not usable'}") from None
    except OSError as error:
        raise BadCertificate(f"{named}: {error.strerror}") from None
    return context
