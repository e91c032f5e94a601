"""HTTP servers with limits on clients: an aiohttp application on a thread of its own, and an intake on it."""

import asyncio
import base64
import binascii
import fcntl
import hmac
import logging
import socket
import ssl
import struct
import termios
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web

from foundation.connections import ClientGroups, ConnectionBound, Waits
from foundation.text import OnNote, ignore_note

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OpenApplication = Callable[[], AbstractAsyncContextManager[web.Application]]
"""Makes the application on the loop that uses it."""
_BACKLOG = 1024
"""Above the connections that one client may have, so that the kernel drops no attempt of others."""
_ACCEPTED_AT_ONCE = 8
"""Few, so that a handshake of several turns of the loop ends before many newcomers take its place."""
_PAUSE_SECONDS = 1.0
_ANSWER_SECONDS = 1.0
"""For a handler to answer that a request was not complete in time, before its connection is closed."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits on connections."""

    connections: int = 256
    request_seconds: float = 10.0
    """For the handshake of TLS and the headers of a request together, and for its body."""
    idle_seconds: float = 75.0
    """Between two requests on one connection, and for a client that reads nothing of an answer."""

    @property
    def reserved(self) -> int:
        """Connections that are only for clients that have shown a token, a session or a certificate."""
        return self.connections // 4


@dataclass(slots=True, eq=False)
class HttpConnection:
    """One connection of a client."""

    socket: socket.socket
    group: str
    """The key of its client: all with one key count as one."""
    since: float
    """When it was opened, or its latest request was answered."""
    protocol: asyncio.Protocol
    is_known: bool = False
    """True if the client has shown a token, a session or a certificate."""
    is_reused: bool = False
    """True if a request was answered on it."""
    request: web.Request | None = None
    """The one that is handled."""
    begun: float = 0.0
    """When its headers had arrived."""
    transport: asyncio.Transport | None = None
    opening: asyncio.Task[None] | None = None
    """Ends with the handshake of TLS."""

    @property
    def waits(self) -> Waits:
        """Which side waits."""
        if self.request is None:
            return Waits.IDLE if self.is_reused else Waits.REQUEST
        if not self.request.content.is_eof():
            return Waits.REQUEST
        unread = struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4)))[0]
        return Waits.ANSWER if unread else Waits.SERVER

    def abort(self) -> None:
        """Close it at once."""
        if self.transport is not None:
            self.transport.abort()
        elif self.opening is not None:
            self.opening.cancel()
        else:
            self.socket.close()


CONNECTION = web.RequestKey("connection", HttpConnection)
"""The connection that a request came by."""
CLOSED_CONNECTIONS = web.AppKey("closed_connections", Counter[str])
"""Connections that the application's server closed, by reason."""


class HttpThread:
    """Listens on a thread until it is stopped."""

    def __init__(
        self,
        name: str,
        application: OpenApplication,
        limits: HttpLimits,
        context: ssl.SSLContext | None = None,
        *,
        decompresses_requests: bool = True,
        report: OnNote = ignore_note,
    ) -> None:
        """Create a server that is not started.

        Args:
            name: of the thread and its log.
            application: makes the application.
            limits: bounds on what clients can use.
            context: for TLS; None for plain HTTP.
            decompresses_requests: whether the application gets the bodies of requests decompressed.
            report: called when connections are closed for lack of room.
        """
        self.port = 0
        self._name = name
        self._open_application = application
        self._limits = limits
        self._context = context
        self._decompresses_requests = decompresses_requests
        self._bound = ConnectionBound(name, limits.connections, limits.reserved, report)
        self._groups: ClientGroups
        self._open: dict[object, HttpConnection] = {}
        """By protocol."""
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._start_error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def start(self, host: str, port: int) -> None:
        """Start listening. Raises OSError if that fails, and what the application raises when it is made."""
        self._thread = threading.Thread(target=self._run, args=(host, port), name=self._name, daemon=True)
        self._thread.start()
        self._started.wait()
        if self._start_error is not None:
            raise self._start_error

    @property
    def is_alive(self) -> bool:
        """True if the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def closed(self) -> Counter[str]:
        """Connections that it closed, by reason."""
        return self._bound.closed

    def stop(self, seconds: float) -> None:
        """Stop; wait so many seconds for requests in progress."""
        if self._loop is not None and self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(seconds)

    def _run(self, host: str, port: int) -> None:
        try:
            asyncio.run(self._serve(host, port))
        except BaseException as error:  # noqa: BLE001  raised again by start
            self._start_error = error
        self._started.set()

    async def _serve(self, host: str, port: int) -> None:
        loop = self._loop = asyncio.get_running_loop()
        log = logging.getLogger(f"lanner.{self._name}")
        log.addHandler(logging.NullHandler())
        log.propagate = False

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guard(request, handler)

        async with self._open_application() as app:
            app.middlewares.insert(0, guarded)
            app[CLOSED_CONNECTIONS] = self.closed
            runner = web.AppRunner(
                app,
                access_log=None,
                auto_decompress=self._decompresses_requests,
                logger=log,
                keepalive_timeout=self._limits.idle_seconds,
                # After an answer to an incomplete request; the default is to keep reading for 10 s.
                lingering_time=min(1.0, self._limits.request_seconds),
            )
            await runner.setup()
            server = runner.server
            assert server is not None  # noqa: S101  set by setup
            # asyncio binds, but doesn't accept: it would hide connections until their handshake is over.
            bound = await loop.create_server(server, host or None, port, start_serving=False)
            listening = [each.dup() for each in bound.sockets]
            bound.close()
            self._groups = ClientGroups()
            try:
                self.port = listening[0].getsockname()[1]
                for each in listening:
                    # Accepted sockets inherit it: the kernel closes them if a client reads nothing for so long.
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._limits.idle_seconds * 1000))
                    each.listen(_BACKLOG)
                    loop.add_reader(each, self._accept, each, server)
                self._started.set()
                while not self._stop.is_set():
                    self._close_slow()
                    await _wait(self._stop, min(1.0, self._limits.request_seconds / 4))
            finally:
                for each in listening:
                    loop.remove_reader(each)
                    each.close()
                for connection in self._open.values():
                    if connection.transport is None:
                        connection.abort()
                await runner.cleanup()
                self._groups.close()

    def _accept(self, listening: socket.socket, server: web.Server) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                taken, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # This process is out of file descriptors or memory.
                loop.remove_reader(listening)
                loop.call_later(_PAUSE_SECONDS, self._go_on, listening, server)
                return
            taken.setblocking(False)
            self._admit(HttpConnection(taken, self._groups.of(taken), loop.time(), server()))

    def _go_on(self, listening: socket.socket, server: web.Server) -> None:
        if listening.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening, server)

    def _admit(self, made: HttpConnection) -> None:
        """Serve a connection; if there are too many, close one."""
        if len(self._open) >= self._limits.connections - self._limits.reserved:
            self._forget_closed()
        closed = self._bound.admit(self._open.values(), made)
        if closed is not None:
            closed.abort()
            self._open.pop(closed.protocol, None)
        if closed is not made:
            self._open[made.protocol] = made
            made.opening = asyncio.get_running_loop().create_task(self._begin(made))
            made.opening.add_done_callback(lambda done: made.socket.close() if _failed(done) else None)

    async def _begin(self, made: HttpConnection) -> None:
        made.transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: made.protocol, made.socket, ssl=self._context
        )
        made.is_known = self._context is not None and self._context.verify_mode is ssl.CERT_REQUIRED

    def _forget_closed(self) -> None:
        self._open = {protocol: each for protocol, each in self._open.items() if each.socket.fileno() >= 0}

    def _close_slow(self) -> None:
        """Close connections without a complete request in time: aiohttp has no limit for headers."""
        self._forget_closed()
        limits, now = self._limits, asyncio.get_running_loop().time()
        for each in self._open.values():
            match each.waits:
                case Waits.IDLE:
                    is_late = now - each.since > limits.idle_seconds
                case Waits.REQUEST:
                    since = each.since if each.request is None else each.begun
                    is_late = now - since > limits.request_seconds + _ANSWER_SECONDS
                    self.closed["timeout"] += is_late
                case _:
                    continue
            if is_late:
                each.abort()

    async def _guard(self, request: web.Request, handle: Handler) -> web.StreamResponse:
        """Note what a connection waits for while a request is handled and its answer is sent."""
        loop, connection = asyncio.get_running_loop(), self._open.get(request.protocol)
        if connection is None:
            # It was closed, and nothing more is sent on it.
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)
        request[CONNECTION] = connection
        connection.request, connection.begun = request, loop.time()
        try:
            answer = await handle(request)
            answer.headers["Server"] = "lanner"
            with suppress(ConnectionError):
                await answer.prepare(request)
                await answer.write_eof()
        finally:
            connection.request, connection.since, connection.is_reused = None, loop.time(), True
        return answer


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _failed(done: asyncio.Task[None]) -> bool:
    # Reading the exception keeps asyncio from logging it: clients cause it.
    return done.cancelled() or done.exception() is not None


class HttpIntake(HttpThread, ABC):
    """A server for senders that may have to show a token."""

    def __init__(
        self,
        name: str,
        limits: HttpLimits,
        *,
        token: bytes = b"",
        context: ssl.SSLContext | None = None,
        decompresses_requests: bool = True,
        report: OnNote = ignore_note,
    ) -> None:
        """Create a server that is not started. token: bearer token or password of a URL; empty if none is required."""
        self._token = token
        super().__init__(
            name, self._application, limits, context, decompresses_requests=decompresses_requests, report=report
        )

    @abstractmethod
    def _application(self) -> AbstractAsyncContextManager[web.Application]:
        """Make the application, on the loop that uses it."""

    def _denied(self, request: web.Request) -> web.Response | None:
        """Return the answer to a request without the token; None if it has it or none is required."""
        if not self._token:
            return None
        if hmac.compare_digest(_token_of(request.headers.get("Authorization", "")), self._token):
            request[CONNECTION].is_known = True
            return None
        return text_answer(401, "the token is missing or wrong", {"WWW-Authenticate": "Bearer"})


def text_answer(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return an answer that is one line of text."""
    return web.Response(status=status, text=f"{text}\n", headers=headers)


async def health(_: web.Request) -> web.Response:
    """Answer that the server runs."""
    return web.json_response({"status": "ok"})


def _token_of(header: str) -> bytes:
    """Return a request's token: a bearer token, or the password of a URL, which is all that Falco can send."""
    kind, _, value = header.partition(" ")
    if kind.lower() == "bearer":
        return value.strip().encode("utf-8", "replace")
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""
