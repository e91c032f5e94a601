"""Puts incoming alerts into the outboxes of this host; they are accepted once they are on disk."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from notifier.delivery.routing import Router
from notifier.intake.server import Take
from notifier.queue.outbox import Outbox
from schemas.alert import Alert


@asynccontextmanager
async def into_outboxes(outboxes: Sequence[tuple[Outbox, Router]]) -> AsyncIterator[Take]:
    """Store alerts on disk for each sink that they are routed to; duplicates are dropped by id.

    Args:
        outboxes: each sink's outbox and router.
    """

    def put(alert: Alert) -> None:
        outcomes = [outbox.put(alert) for outbox, router in outboxes if router(alert) is not None]
        if "full" in outcomes:
            raise OSError("an outbox is full (notifier.outbox_alerts)")

    async def take(alert: Alert) -> None:
        await asyncio.to_thread(put, alert)

    yield take
