"""Accepts alerts by HTTP from Falco, as falcosidekick does, and answers 200 only when the bus has stored them.

Falco drops what it can't post and ignores answers, so a request is held while the bus is slow; Falco's own queue waits
in the meantime. Every limit here bounds what an untrusted client can make this process hold.
"""

import asyncio
import base64
import binascii
import hmac
import logging
import ssl
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from aiohttp import web

from notifier.formats.falco_json import parse_falco
from notifier.intake.stats import IntakeStats
from schemas.alert import Alert
from schemas.errors import LannerError
from schemas.text.notes import OnNote

Take = Callable[[Alert], Awaitable[None]]
"""Returns when the bus has stored the alert. Raises IntakeRefused if it never will, OSError if it can't now."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Bus = Callable[[], AbstractAsyncContextManager[Take]]
"""Opens the bus on the loop that uses it."""


class IntakeRefused(LannerError):
    """The bus will never accept this alert."""


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """Limits on what clients can make this process hold; together about 130 MB."""

    body_bytes: int = 512 << 10
    connections: int = 256
    request_seconds: float = 10.0
    """Until a request has arrived completely, headers and body."""
    idle_seconds: float = 75.0
    """Between two requests on one connection."""
    bus_seconds: float = 30.0
    """For the bus to store an alert."""


class IntakeServer:
    """An HTTP server on its own thread."""

    def __init__(
        self,
        bus: Bus,
        test_alert: Callable[[], Alert],
        *,
        prepare: Callable[[Alert], Alert],
        token: str = "",
        context: ssl.SSLContext | None = None,
        limits: IntakeLimits | None = None,
        report: OnNote,
    ) -> None:
        """Create a server that is not started.

        Args:
            bus: where alerts go.
            test_alert: returns the alert that `POST /test` sends.
            prepare: adds fields and masks secrets before the alert reaches the bus.
            token: required as a bearer token or as the password of a URL; empty for none.
            context: for TLS; None for plain HTTP.
            limits: bounds on what clients can use.
            report: called once when the bus begins to fail, and once when it works again.
        """
        self.stats = IntakeStats()
        self.port = 0
        self._bus = bus
        self._test_alert = test_alert
        self._prepare = prepare
        self._token = token.encode()
        self._context = context
        self._limits = limits or IntakeLimits()
        self._report = report
        self._failing = False
        self._active: set[object] = set()
        self._since: dict[object, tuple[float, bool]] = {}
        """By connection: when it began to wait for a request, and whether it has made one before."""
        self._stop = asyncio.Event()
        self._take: Take
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._start_error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def start(self, host: str, port: int) -> None:
        """Start listening. Raises OSError if that fails, and what the bus raises when it is opened."""
        self._thread = threading.Thread(target=self._run, args=(host, port), name="intake", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._start_error is not None:
            raise self._start_error

    @property
    def is_alive(self) -> bool:
        """Whether the server thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self, seconds: float) -> None:
        """Stop; wait so many seconds for requests in progress."""
        if self._loop is not None and self._thread is not None:
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
        log = logging.getLogger("lanner.intake")
        log.addHandler(logging.NullHandler())
        log.propagate = False

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guard(request, handler)

        app = web.Application(client_max_size=self._limits.body_bytes, middlewares=[guarded])
        app.router.add_post("/", self._alert)
        app.router.add_post("/test", self._test)
        app.router.add_get("/ping", _ping)
        app.router.add_get("/healthz", _health)
        async with self._bus() as self._take:
            runner = web.AppRunner(
                app,
                access_log=None,
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

    async def _guard(
        self, request: web.Request, handle: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Mark the connection as active while a request is handled, and count oversized requests."""
        self._active.add(request.protocol)
        try:
            answer = await handle(request)
        except web.HTTPRequestEntityTooLarge:
            self.stats.refused += 1
            answer = _text(413, f"an alert has at most {self._limits.body_bytes} bytes")
        finally:
            self._active.discard(request.protocol)
            self._since[request.protocol] = (asyncio.get_running_loop().time(), True)
        answer.headers["Server"] = "lanner"
        return answer

    async def _alert(self, request: web.Request) -> web.Response:
        if (denied := self._denied(request)) is not None:
            return denied
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                body = await request.read()
        except TimeoutError:
            self.stats.refused += 1
            return _text(408, "the request was not complete in time")
        try:
            alert = self._prepare(parse_falco(body))
        except ValueError as error:
            self.stats.refused += 1
            return _text(400, str(error))
        return await self._put(alert)

    async def _test(self, request: web.Request) -> web.Response:
        return self._denied(request) or await self._put(self._test_alert())

    async def _put(self, alert: Alert) -> web.Response:
        try:
            async with asyncio.timeout(self._limits.bus_seconds):
                await self._take(alert)
        except IntakeRefused as error:
            self.stats.refused += 1
            return _text(400, str(error))
        except (OSError, TimeoutError) as error:
            self.stats.failed += 1
            if not self._failing:
                self._failing = True
                self._report(f"intake: alerts can't be accepted: {error or 'no answer from the broker in time'}.")
            return _text(503, "the alert could not be stored; send it again", {"Retry-After": "5"})
        if self._failing:
            self._failing = False
            self._report("intake: alerts are accepted again.")
        self.stats.taken += 1
        return web.Response()

    def _denied(self, request: web.Request) -> web.Response | None:
        """Return the answer to a request without the token; None if it has it or none is required."""
        if not self._token or hmac.compare_digest(_token_of(request.headers.get("Authorization", "")), self._token):
            return None
        self.stats.refused += 1
        return _text(401, "the token is missing or wrong", {"WWW-Authenticate": "Bearer"})


class _TooMany(asyncio.Protocol):
    """Drops a connection beyond the limit."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()


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


def _text(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=f"{text}\n", headers=headers)


async def _ping(_: web.Request) -> web.Response:
    return web.Response(text="pong\n")


async def _health(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
