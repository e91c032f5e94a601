"""An aiohttp application on a thread of its own, with limits on what clients can make the process hold."""

import asyncio
import logging
import ssl
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OpenApplication = Callable[[], AbstractAsyncContextManager[web.Application]]
"""Makes the application on the loop that uses it."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits on connections."""

    connections: int = 256
    request_seconds: float = 10.0
    """Until a request has arrived completely, headers and body."""
    idle_seconds: float = 75.0
    """Between two requests on one connection."""


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
    ) -> None:
        """Create a server that is not started.

        Args:
            name: of the thread and its log.
            application: makes the application.
            limits: bounds on what clients can use.
            context: for TLS; None for plain HTTP.
            decompresses_requests: whether the application gets the bodies of requests decompressed.
        """
        self.port = 0
        self._name = name
        self._application = application
        self._limits = limits
        self._context = context
        self._decompresses_requests = decompresses_requests
        self._active: set[object] = set()
        self._since: dict[object, tuple[float, bool]] = {}
        """By connection: when it began to wait for a request, and whether it has made one before."""
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
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

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
        self._loop = asyncio.get_running_loop()
        log = logging.getLogger(f"lanner.{self._name}")
        log.addHandler(logging.NullHandler())
        log.propagate = False

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guard(request, handler)

        async with self._application() as app:
            app.middlewares.insert(0, guarded)
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

            def accept() -> asyncio.Protocol:
                return server() if len(server.connections) < self._limits.connections else _TooMany()

            listening = await self._loop.create_server(
                accept,
                host or None,
                port,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.request_seconds if self._context else None,
            )
            try:
                self.port = listening.sockets[0].getsockname()[1]
                self._started.set()
                while not self._stop.is_set():
                    self._close_slow(server)
                    await _wait(self._stop, min(1.0, self._limits.request_seconds / 4))
            finally:
                listening.close()
                await runner.cleanup()

    def _close_slow(self, server: web.Server) -> None:
        """Close connections without a complete request in time: aiohttp has no timeout for headers."""
        assert self._loop is not None  # noqa: S101  runs on it
        now = self._loop.time()
        connected = set(server.connections)
        self._since = {each: self._since.get(each, (now, False)) for each in connected}
        for each in connected - self._active:
            since, is_reused = self._since[each]
            if now - since > (self._limits.idle_seconds if is_reused else self._limits.request_seconds):
                each.force_close()
                if each.transport is not None:
                    each.transport.abort()

    async def _guard(self, request: web.Request, handle: Handler) -> web.StreamResponse:
        """Mark the connection as active while a request is handled."""
        self._active.add(request.protocol)
        try:
            answer = await handle(request)
        finally:
            self._active.discard(request.protocol)
            self._since[request.protocol] = (asyncio.get_running_loop().time(), True)
        answer.headers["Server"] = "lanner"
        return answer


class _TooMany(asyncio.Protocol):
    """Drops a connection beyond the limit."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
