"""Accepts audit events from API servers over HTTP, and answers 200 only once the broker has acknowledged all of them.

An API server retries what was answered with 429, and buffers further events in the meantime.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from bus.connection import BusUnavailable
from foundation.http_server import CONNECTION, HttpIntake, HttpLimits, health, text_answer
from foundation.text import OnNote
from lanner.intake.delivery import AuditDelivery, NotStored
from lanner.intake.documents import (
    MAX_BODY_BYTES,
    BadBody,
    BadDocument,
    BodyMemory,
    BodyTooLarge,
    NoRoom,
    RawEvent,
    RequestBody,
    split,
)

OpenDelivery = Callable[[], AbstractAsyncContextManager[AuditDelivery]]
"""Opens the broker on the loop that uses it."""
PATHS = ("/", "/k8s-audit")
"""The second is the usual one of Falco's plugin."""
_AWAY, _BUSY = "5", "1"
"""Values of Retry-After, seconds."""
_SPLIT_ASIDE_BYTES = 64 << 10
"""Larger documents are split on threads of their own, so that other requests are answered at the same time."""
_SPLITTERS = 2


@dataclass(frozen=True, slots=True)
class WebhookLimits(HttpLimits):
    """Limits on the memory that clients can make this process use."""

    body_bytes: int = MAX_BODY_BYTES
    bus_seconds: float = 15.0
    """For the broker to acknowledge the events of a request; an API server waits 30 s for an answer."""


@dataclass(frozen=True, slots=True)
class WebhookAccess:
    """The ways in which clients may send."""

    token: bytes = field(default=b"", repr=False)
    """Required as bearer token; empty for none."""
    context: ssl.SSLContext | None = None
    """For TLS, with or without client certificates; None for plain HTTP."""


class AuditWebhook(HttpIntake):
    """The server that API servers post to."""

    _limits: WebhookLimits

    def __init__(
        self,
        open_delivery: OpenDelivery,
        access: WebhookAccess,
        report: OnNote,
        limits: WebhookLimits | None = None,
        at: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Create a server that is not started.

        Args:
            open_delivery: opens the broker.
            access: who may send.
            report: called once when events can't be stored, and once when they can be again.
            limits: bounds on what clients can use.
            at: called with the name of each point between two steps; tests kill the process there.
        """
        self.codes: Counter[int] = Counter()
        """Requests, by the status of the answer."""
        self.is_failing = False
        """True if the events of the latest request could not be stored."""
        self._open_delivery = open_delivery
        self._report = report
        self._limits = limits or WebhookLimits()
        super().__init__(
            "audit-webhook",
            self._limits,
            token=access.token,
            context=access.context,
            decompresses_requests=False,
            report=report,
        )
        self._at = at
        self._memory = BodyMemory()
        self._splitters = ThreadPoolExecutor(_SPLITTERS, "audit-split")
        self._delivery: AuditDelivery

    @asynccontextmanager
    async def _application(self) -> AsyncIterator[web.Application]:
        app = web.Application()
        for path in PATHS:
            app.router.add_post(path, self._take)
        app.router.add_get("/healthz", health)
        try:
            async with self._open_delivery() as self._delivery:
                yield app
        finally:
            self._splitters.shutdown(wait=False, cancel_futures=True)

    async def _take(self, request: web.Request) -> web.Response:
        body = RequestBody(self._memory, self._limits.body_bytes, request[CONNECTION].group)
        try:
            answer = await self._answer(request, body)
        finally:
            body.release()
        self.codes[answer.status] += 1
        return answer

    async def _answer(self, request: web.Request, body: RequestBody) -> web.Response:
        if (denied := self._denied(request)) is not None:
            return denied
        if self._delivery.is_blocked:
            return text_answer(429, "the broker does not answer", {"Retry-After": _AWAY})
        if (request.content_length or 0) > self._limits.body_bytes:
            return self._too_large()
        encoding = request.headers.get("Content-Encoding", "").strip().lower()
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                document = await body.read(request.content.iter_any(), encoding)
            events = await self._split(document)
        except TimeoutError:
            return text_answer(408, "the request was not complete in time")
        except BodyTooLarge:
            return self._too_large()
        except NoRoom:
            return text_answer(429, "too many requests at once", {"Retry-After": _BUSY})
        except (BadBody, BadDocument) as error:
            return text_answer(400, str(error))
        try:
            await self._delivery.store(events, self._limits.bus_seconds)
        except (NotStored, BusUnavailable) as error:
            if not self.is_failing:
                self.is_failing = True
                self._report(f"audit events can't be accepted: {error}. API servers buffer and retry them.", "warning")
            return text_answer(429, "the events could not be stored", {"Retry-After": _AWAY})
        self._at("stored")
        if self.is_failing:
            self.is_failing = False
            self._report("audit events are accepted again.")
        return web.Response()

    async def _split(self, document: bytes) -> list[RawEvent]:
        if len(document) <= _SPLIT_ASIDE_BYTES:
            return split(document)
        return await asyncio.get_running_loop().run_in_executor(self._splitters, split, document)

    def _too_large(self) -> web.Response:
        return text_answer(
            413, f"a request has at most {self._limits.body_bytes} bytes, before and after decompression"
        )
