"""A stand-in for the broker: it acknowledges, refuses or ignores messages."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from bus.clients.errors import MessageRefused
from bus.clients.event_loop import AsyncProducer
from bus.connection import BusUnavailable, Connection
from lanner.intake.delivery import AuditDelivery


class FakeBroker:
    """Behaves as a producer does."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes | None, bytes]] = []
        """Topic, key and value of the acknowledged messages."""
        self.headers: list[dict[str, Any]] = []
        self.is_away = False
        self.fault = ""
        self.refuses: bytes = b"\0"
        """Values with this text are refused."""
        self.outcomes: Counter[str] = Counter()
        self._waiting: list[tuple[asyncio.Future[int], tuple[str, bytes | None, bytes]]] = []

    @property
    def values(self) -> list[bytes]:
        """The acknowledged values."""
        return [value for _, _, value in self.sent]

    @property
    def events(self) -> list[str]:
        """The ids of the events in the acknowledged messages, which hold one a line."""
        return [json.loads(line)["auditID"] for value in self.values for line in value.split(b"\n")]

    async def send(self, topic: str, key: bytes | None, value: bytes, headers: Any) -> "asyncio.Future[int]":
        """Take a message."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.headers.append(dict(headers))
        self._waiting.append((done, (topic, key, value)))
        if not self.is_away:
            self.answer()
        return done

    def answer(self) -> None:
        """Answer all messages; on the loop."""
        self.is_away = False
        for done, message in self._waiting:
            if self.fault:
                done.set_exception(BusUnavailable(self.fault, "grant it"))
            elif self.refuses in message[2]:
                done.set_exception(MessageRefused("too large"))
            else:
                self.sent.append(message)
                done.set_result(0)
        self._waiting.clear()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AuditDelivery]:
        """Open a delivery."""
        self.loop = asyncio.get_running_loop()
        yield AuditDelivery(Connection(prefix="t."), cast(AsyncProducer, self), self.outcomes)
