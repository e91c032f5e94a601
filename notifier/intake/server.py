"""Takes alerts by HTTP from Falco, as falcosidekick does, and answers 200 only when the bus has them.

Falco drops what it could not post and looks at no answer, so a request is held while the bus is slow: Falco's own queue
waits meanwhile. Every bound here is on what a stranger can make this process hold.
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
from schemas.alert import Alert
from schemas.errors import LannerError

Take = Callable[[Alert], Awaitable[None]]
"""Ends when the bus has the alert. Raises IntakeRefused where it never will, OSError where it can't now."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Bus = Callable[[], AbstractAsyncContextManager[Take]]
"""Opens the bus on the loop that will use it."""


class IntakeRefused(LannerError):
    """The bus will never take this alert."""


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """What strangers can make this process hold at most; together about 130 MB."""

    body_bytes: int = 512 << 10
    connections: int = 256
    request_seconds: float = 10.0
    """Until a request is there whole, headers and body."""
    idle_seconds: float = 75.0
    """Between two requests of a connection that is kept."""
    bus_seconds: float = 30.0
    """For the bus to take an alert."""


@dataclass(slots=True)
class IntakeStats:
    """What became of requests with an alert."""

    taken: int = 0
    refused: int = 0
    """Wrong token, no alert, too large."""
    failed: int = 0
    """The bus did not take it in time; whether the sender tries again is the sender's affair."""


class IntakeServer:
    """An HTTP server on a thread of its own."""

    def __init__(
        self,
        bus: Bus,
        test_alert: Callable[[], Alert],
        *,
        redact: Callable[[Alert], Alert],
        token: str = "",
        context: ssl.SSLContext | None = None,
        limits: IntakeLimits | None = None,
        note: Callable[[str], None],
    ) -> None:
        """Put it together.

        Args:
            bus: where alerts go.
            test_alert: makes what `POST /test` sends.
            redact: masks secrets; what Falco sent is not on the bus.
            token: what requests must show, as a bearer's or as the password of a URL; empty for none.
            context: of TLS; None for plain HTTP.
            limits: on what is held.
            note: told once when the bus begins to fail, and once when it works again.
        """
        self.tally = IntakeStats()
        self.port = 0
        self._bus = bus
        self._test_alert = test_alert
        self._redact = redact
        self._token = token.encode()
        self._context = context
        self._limits = limits or IntakeLimits()
        self._note = note
        self._failing = False
        self._active: set[object] = set()
        self._since: dict[object, tuple[float, bool]] = {}
        """By connection: since when it waits for a request, and whether it has made one before."""
        self._stop = asyncio.Event()
        self._take: Take
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._trouble: BaseException | None = None
        self._thread: threading.Thread | None = None

    def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError where that can't be done, and what the bus raises when it is opened."""
        self._thread = threading.Thread(target=self._run, args=(host, port), name="intake", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._trouble is not None:
            raise self._trouble

    @property
    def is_alive(self) -> bool:
        """Whether it still listens."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self, seconds: float) -> None:
        """End; requests under way may take so many seconds."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(seconds)

    def _run(self, host: str, port: int) -> None:
        try:
            asyncio.run(self._serve(host, port))
        except BaseException as error:  # noqa: BLE001  told to whoever starts it
            self._trouble = error
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
                # After an answer to a request that isn't there whole; else aiohttp reads on for ten seconds.
                lingering_time=min(1.0, self._limits.request_seconds),
            )
            await runner.setup()
            server = runner.server
            assert server is not None  # noqa: S101  there is one after setup

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
        """Close connections that are too long without a whole request: aiohttp bounds no header's arrival."""
        assert self._loop is not None  # noqa: S101  runs on it
        now = self._loop.time()
        there = set(server.connections)
        self._since = {each: self._since.get(each, (now, False)) for each in there}
        for each in there - self._active:
            since, is_kept = self._since[each]
            if now - since > (self._limits.idle_seconds if is_kept else self._limits.request_seconds):
                each.force_close()
                if each.transport is not None:
                    each.transport.abort()

    async def _guard(
        self, request: web.Request, handle: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Note that a connection has a request at last, and count what is refused."""
        self._active.add(request.protocol)
        try:
            answer = await handle(request)
        except web.HTTPRequestEntityTooLarge:
            self.tally.refused += 1
            answer = _said(413, f"an alert has at most {self._limits.body_bytes} bytes")
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
            self.tally.refused += 1
            return _said(408, "the request did not come whole in time")
        try:
            alert = self._redact(parse_falco(body))
        except ValueError as error:
            self.tally.refused += 1
            return _said(400, str(error))
        return await self._put(alert)

    async def _test(self, request: web.Request) -> web.Response:
        return self._denied(request) or await self._put(self._test_alert())

    async def _put(self, alert: Alert) -> web.Response:
        try:
            async with asyncio.timeout(self._limits.bus_seconds):
                await self._take(alert)
        except IntakeRefused as error:
            self.tally.refused += 1
            return _said(400, str(error))
        except (OSError, TimeoutError) as error:
            self.tally.failed += 1
            if not self._failing:
                self._failing = True
                self._note(f"intake: alerts can't be taken: {error or 'no answer from the broker in time'}.")
            return _said(503, "it could not be kept; send it again", {"Retry-After": "5"})
        if self._failing:
            self._failing = False
            self._note("intake: alerts are taken again.")
        self.tally.taken += 1
        return web.Response()

    def _denied(self, request: web.Request) -> web.Response | None:
        """Give the answer to a request that shows not the token; None where it does, or none is wanted."""
        if not self._token or hmac.compare_digest(_shown(request.headers.get("Authorization", "")), self._token):
            return None
        self.tally.refused += 1
        return _said(401, "the token is missing or wrong", {"WWW-Authenticate": "Bearer"})


class _TooMany(asyncio.Protocol):
    """Takes a connection beyond the limit, and drops it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()


def _shown(header: str) -> bytes:
    """Give the token that a request shows: a bearer's, or the password of a URL, which is all that Falco can send."""
    kind, _, value = header.partition(" ")
    if kind.lower() == "bearer":
        return value.strip().encode("utf-8", "replace")
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""


def _said(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
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
