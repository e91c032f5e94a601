"""Answers the guests' connections: every name has an address, and what tests connect to is listening.

The servers are sockets of this process in the guest's network namespace, so that no process of theirs is in the guest.
"""

import asyncio
import ctypes
import datetime as dt
import errno
import ipaddress
import os
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ADDRESS = "203.0.113.10"
"""What names resolve to, of a block for documentation. Source: RFC 5737."""
METADATA_ADDRESS = "169.254.169.254"
_METADATA_NAMES = (b"\x08metadata\x06google\x08internal\0", b"\x08metadata\0")
_PLAIN_PORTS, _TLS_PORTS = (22, 25, 53, 80, 389), (443, 8443)
_CLONE_NEWNET = 0x40000000
_BODY = b"# Answer of the sinkhole of lanner prove\n"
"""A comment to shells, Python and Perl, so that a download that is run does nothing."""
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
_SECONDS = 2.0
_QUIET_SECONDS = 1.0
_MAX_LINE = 64 * 1024
_MAX_BODY = 64 * 1024 * 1024
_MAX_CONNECTIONS = 200
_TYPE_A, _TYPE_PTR = 1, 12
_NO_SUCH_NAME = 3
_NAMES_CACHED = 256
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Sinkhole:
    """The servers of all guests, on a thread of their own; use it as a context manager."""

    def __init__(self) -> None:
        """Make its certificate authority, which guests trust."""
        self._folder = tempfile.TemporaryDirectory(prefix="lanner-sinkhole-")
        self._authority = _Authority(Path(self._folder.name))
        self.certificate = self._authority.certificate
        """The file of the authority's certificate."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sinkhole", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """Do nothing; it is started."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all servers."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._folder.cleanup()

    def serve(self, pid: int) -> Callable[[], None]:
        """Listen in the network namespace of a process; return what ends it.

        A port at which the guest itself listens is left to it.
        """
        with ThreadPoolExecutor(1) as thread:
            # The thread ends in that namespace; its sockets stay there.
            names, listening = thread.submit(_open_sockets, pid).result()
        return asyncio.run_coroutine_threadsafe(self._serve(names, listening), self._loop).result()

    async def _serve(self, names: socket.socket, listening: dict[int, socket.socket]) -> Callable[[], None]:
        limit = asyncio.Semaphore(_MAX_CONNECTIONS)
        transport, _ = await self._loop.create_datagram_endpoint(_NameServer, sock=names)
        closing: list[Callable[[], None]] = [transport.close]
        for port, each in listening.items():
            encrypted = self._authority.context if port in _TLS_PORTS else None
            answer = _limited(_ANSWERS.get(port, _answer_http), limit)
            server = await asyncio.start_server(answer, sock=each, limit=_MAX_LINE, ssl=encrypted)
            closing.append(server.close)

        def close() -> None:
            for end in closing:
                self._loop.call_soon_threadsafe(end)

        return close


def _open_sockets(pid: int) -> tuple[socket.socket, dict[int, socket.socket]]:
    """Enter a process's network namespace with this thread; return the name server's socket, and the others by port."""
    with Path(f"/proc/{pid}/ns/net").open("rb") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    has_both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if has_both else socket.AF_INET
    names = socket.socket(family, socket.SOCK_DGRAM)
    if has_both:
        names.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    names.bind(("", 53))
    listening: dict[int, socket.socket] = {}
    for port in (*_PLAIN_PORTS, *_TLS_PORTS):
        try:
            listening[port] = socket.create_server(("", port), family=family, dualstack_ipv6=has_both)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    return names, listening


class _NameServer(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if (reply := dns_reply(data)) is not None:
            self._transport.sendto(reply, addr)


def dns_reply(query: bytes) -> bytes | None:
    """Return the reply to a query: an address for each name, no record of other types; None if it isn't a query.

    Source: RFC 1035, sections 4.1 and 4.2.
    """
    if len(query) < 17 or query[2] & 0x80 or query[4:6] != b"\0\1":
        return None
    end = 12
    while end < len(query) and query[end]:
        end += query[end] + 1
    question = query[12 : end + 5]
    if len(question) < end - 12 + 5:
        return None
    name, (kind,) = question[:-4].lower(), struct.unpack(">H", question[-4:-2])
    address = METADATA_ADDRESS if name in _METADATA_NAMES else ADDRESS
    record = b"\xc0\x0c" + struct.pack(">HHIH", _TYPE_A, 1, 60, 4) + ipaddress.ip_address(address).packed
    records = record if kind == _TYPE_A else b""
    # A scanner asks again and again for the name of an address, unless there is none.
    code = _NO_SUCH_NAME if kind == _TYPE_PTR else 0
    return struct.pack(">2s5H", query[:2], 0x8180 | code, 1, bool(records), 0, 0) + question + records


def _limited(answer: Answer, limit: asyncio.Semaphore) -> Answer:
    """Bound the time and the number of connections; how one ended is of no interest."""

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError, ValueError, TimeoutError):
            if not limit.locked():
                async with limit, asyncio.timeout(_SECONDS):
                    await answer(reader, writer)
                    await writer.drain()
        with suppress(OSError):
            writer.close()

    return answered


async def _answer_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"100-continue" in head:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    _, found, rest = head.partition(b"content-length:")
    left = int(rest.split(b"\r\n")[0]) if found else _MAX_BODY if b"chunked" in head else 0
    left = min(left, _MAX_BODY)
    with suppress(TimeoutError):
        while left > 0 and (data := await asyncio.wait_for(reader.read(_MAX_LINE), _QUIET_SECONDS)):
            left -= len(data)
            if not found and data.endswith(b"0\r\n\r\n"):
                break
    writer.write(_HEAD % len(_BODY) + (b"" if head.startswith(b"head ") else _BODY))


async def _answer_mail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 sinkhole ESMTP\r\n")
    while (line := await reader.readline()) and not line.lower().startswith(b"quit"):
        if line.lower().startswith(b"data"):
            writer.write(b"354 go on\r\n")
            while await reader.readline() not in (b".\r\n", b".\n", b""):
                pass
        writer.write(b"250 ok\r\n")
    writer.write(b"221 bye\r\n")


async def _answer_names(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    (length,) = struct.unpack(">H", await reader.readexactly(2))
    if (reply := dns_reply(await reader.readexactly(length))) is not None:
        writer.write(struct.pack(">H", len(reply)) + reply)


async def _answer_shell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-sinkhole\r\n")
    await reader.read(_MAX_LINE)


async def _answer_nothing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read(_MAX_LINE)


_ANSWERS: dict[int, Answer] = {22: _answer_shell, 25: _answer_mail, 53: _answer_names, 389: _answer_nothing}


class _Authority:
    """Issues a certificate for each name that a client names."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lanner prove")])
        self.certificate = folder / "authority.pem"
        self.certificate.write_bytes(self._issue(self._subject, x509.BasicConstraints(ca=True, path_length=0)))
        self._of_name = lru_cache(_NAMES_CACHED)(self._make_context)
        self.context = self._make_context("sinkhole")
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        # A name that no certificate can have gets the first one.
        with suppress(ValueError, OSError):
            if name:
                connection.context = self._of_name(name)

    def _make_context(self, name: str) -> ssl.SSLContext:
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64])])
        key = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile(dir=self._folder) as file:
            file.write(key + self._issue(subject, x509.SubjectAlternativeName([x509.DNSName(name)])))
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def _issue(self, subject: x509.Name, extension: x509.ExtensionType) -> bytes:
        now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
        made = (
            x509.CertificateBuilder(self._subject, subject, self._key.public_key(), x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + 30 * day)
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self._key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)
