"""Alerts that come in, put into the outboxes of one host: taken when they are on disk."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from notifier.delivery.worker import Address
from notifier.intake.server import Take
from notifier.queue.outbox import Outbox
from schemas.alert import Alert


@asynccontextmanager
async def into_outboxes(lines: Sequence[tuple[Outbox, Address]]) -> AsyncIterator[Take]:
    """Put alerts on disk, for each sink that wants them; what is there twice is dropped by its id.

    Args:
        lines: each sink's outbox, and whether an alert is for it.
    """

    def put(alert: Alert) -> None:
        outcomes = [outbox.put(alert) for outbox, address in lines if address(alert) is not None]
        if "full" in outcomes:
            raise OSError("an outbox is full (notifier.outbox_alerts)")

    async def take(alert: Alert) -> None:
        await asyncio.to_thread(put, alert)

    yield take
