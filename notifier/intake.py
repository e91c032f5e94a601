"""Accepts alerts by HTTP from Falco, as falcosidekick does, and answers 200 only when the bus has stored them.

Falco drops what it can't post and ignores answers, so a request waits while the bus is slow; Falco's own queue waits
in the meantime. Every limit here bounds the memory that an untrusted client can use.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from bus.clients.errors import MessageRefused
from bus.clients.event_loop import AsyncProducer
from bus.clients.schema_registry import Registration, Registry, schema_message
from bus.connection import BusUnavailable, Connection
from bus.messages import JSON_HEADERS, alert_message
from bus.topics import ALERTS, SCHEMAS
from foundation.errors import LannerError
from foundation.http_server import Handler, HttpIntake, HttpLimits, health, text_answer
from foundation.text import OnNote
from notifier.formats.falco import parse_falco
from notifier.outbox import Outbox
from notifier.routing import Router
from notifier.sink import IntakeStats
from schemas.alert import ALERT_FORMAT, Alert
from schemas.encoding.wire import reframed

Take = Callable[[Alert], Awaitable[None]]
"""Returns when the bus has stored the alert. Raises IntakeRefused if it never will, OSError if it can't now."""
Bus = Callable[[], AbstractAsyncContextManager[Take]]
"""Opens the bus on the loop that uses it."""


class IntakeRefused(LannerError):
    """The bus will never accept this alert."""


@dataclass(frozen=True, slots=True)
class IntakeLimits(HttpLimits):
    """Limits on the memory that clients can make this process use; together about 130 MB."""

    body_bytes: int = 512 << 10
    bus_seconds: float = 30.0
    """For the bus to store an alert."""


class IntakeServer(HttpIntake):
    """The server that Falco posts to."""

    _limits: IntakeLimits

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
        self._bus = bus
        self._test_alert = test_alert
        self._prepare = prepare
        self._limits = limits or IntakeLimits()
        super().__init__("intake", self._limits, token=token.encode(), context=context, report=report)
        self.stats = IntakeStats(closed=self.closed)
        self._report = report
        self._failing = False
        self._take: Take

    @asynccontextmanager
    async def _application(self) -> AsyncIterator[web.Application]:
        @web.middleware
        async def bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                return await handler(request)
            except web.HTTPRequestEntityTooLarge:
                self.stats.refused += 1
                return text_answer(413, f"an alert has at most {self._limits.body_bytes} bytes")

        app = web.Application(client_max_size=self._limits.body_bytes, middlewares=[bounded])
        app.router.add_post("/", self._alert)
        app.router.add_post("/test", self._test)
        app.router.add_get("/ping", _ping)
        app.router.add_get("/healthz", health)
        async with self._bus() as self._take:
            yield app

    async def _alert(self, request: web.Request) -> web.Response:
        if (denied := self._denied(request)) is not None:
            return denied
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                body = await request.read()
        except TimeoutError:
            self.stats.refused += 1
            return text_answer(408, "the request was not complete in time")
        try:
            alert = self._prepare(parse_falco(body))
        except ValueError as error:
            self.stats.refused += 1
            return text_answer(400, str(error))
        return await self._put(alert)

    async def _test(self, request: web.Request) -> web.Response:
        return self._denied(request) or await self._put(self._test_alert())

    async def _put(self, alert: Alert) -> web.Response:
        try:
            async with asyncio.timeout(self._limits.bus_seconds):
                await self._take(alert)
        except IntakeRefused as error:
            self.stats.refused += 1
            return text_answer(400, str(error))
        except (OSError, TimeoutError) as error:
            self.stats.failed += 1
            if not self._failing:
                self._failing = True
                self._report(f"intake: alerts can't be accepted: {error or 'no answer from the broker in time'}.")
            return text_answer(503, "the alert could not be stored; send it again", {"Retry-After": "5"})
        if self._failing:
            self._failing = False
            self._report("intake: alerts are accepted again.")
        self.stats.taken += 1
        return web.Response()

    def _denied(self, request: web.Request) -> web.Response | None:
        denied = super()._denied(request)
        self.stats.refused += denied is not None
        return denied


async def _ping(_: web.Request) -> web.Response:
    return web.Response(text="pong\n")


@asynccontextmanager
async def into_outboxes(outboxes: Sequence[tuple[Outbox, Router]]) -> AsyncIterator[Take]:
    """Store alerts on disk for each sink that they are routed to; duplicates are dropped by id."""

    def put(alert: Alert) -> None:
        outcomes = [outbox.put(alert) for outbox, router in outboxes if router(alert) is not None]
        if "full" in outcomes:
            raise OSError("an outbox is full (notifier.outbox_alerts)")

    async def take(alert: Alert) -> None:
        await asyncio.to_thread(put, alert)

    yield take


CLOSE_SECONDS = 5.0


@asynccontextmanager
async def into_topic(connection: Connection, report: OnNote) -> AsyncIterator[Take]:
    """Open a producer on the running loop; report is called if the schema registry doesn't answer.

    Raises:
        BusUnavailable: the client or the registry can't be set up.
    """
    topic = connection.topic(ALERTS)
    producer = AsyncProducer(connection, "lanner-intake", on_note=report)
    registration = None
    if connection.registry is not None:
        registration = Registration(Registry(connection.registry), topic, ALERT_FORMAT.schema, report)
    key, value = schema_message(ALERT_FORMAT.schema)
    await producer.send(connection.topic(SCHEMAS), key, value, JSON_HEADERS)

    async def take(alert: Alert) -> None:
        made = alert_message(alert)
        data = made.value
        if registration is not None:
            if registration.header is None:
                raise OSError("the schema registry does not answer")
            data = reframed(data, registration.header, ALERT_FORMAT.header)
        try:
            await (await producer.send(topic, made.key, data, made.headers))
        except MessageRefused as error:
            raise IntakeRefused(f"the broker rejects it: {error}") from None
        except BusUnavailable as error:
            raise OSError(str(error)) from None

    try:
        yield take
    finally:
        if registration is not None:
            registration.close()
        producer.close(CLOSE_SECONDS)
