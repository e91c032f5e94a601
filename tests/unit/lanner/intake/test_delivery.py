import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bus.errors.unavailable import BusUnavailable
from lanner.intake.delivery import AuditDelivery, NotStored
from lanner.intake.documents import RawEvent
from tests.unit.lanner.intake.broker import FakeBroker

EVENTS = [RawEvent(b"a", b"1"), RawEvent(None, b"2")]


def _run(broker: FakeBroker, work: Callable[[AuditDelivery], Awaitable[None]]) -> None:
    async def run() -> None:
        async with broker.open() as delivery:
            await work(delivery)

    asyncio.run(run())


def test_events_are_stored_under_their_ids() -> None:
    """All are acknowledged when the call returns."""
    broker = FakeBroker()
    _run(broker, lambda delivery: delivery.store(EVENTS))

    assert broker.sent == [("t.kubernetes-audit", b"a", b"1"), ("t.kubernetes-audit", None, b"2")]
    assert broker.outcomes == {"accepted": 2, "refused": 0}


def test_an_event_that_the_broker_refuses_becomes_a_dead_letter() -> None:
    """The others pass; the event itself would not fit."""
    broker = FakeBroker()
    broker.refuses = b"1"
    _run(broker, lambda delivery: delivery.store(EVENTS))

    assert broker.sent == [("t.kubernetes-audit", None, b"2"), ("t.dlq.processor", None, b"")]
    assert broker.headers[-1]["reason"] == b"audit event a refused: too large"
    assert broker.headers[-1]["omitted_bytes"] == b"1"
    assert broker.outcomes == {"accepted": 1, "refused": 1}


def test_events_without_an_answer_block_further_ones_until_it_comes() -> None:
    """Otherwise each retry of an API server would queue them once more."""
    broker = FakeBroker()
    broker.is_away = True

    async def work(delivery: AuditDelivery) -> None:
        with pytest.raises(NotStored):
            await delivery.store(EVENTS, 0.01)
        assert delivery.is_blocked
        broker.answer()
        await asyncio.sleep(0)
        assert not delivery.is_blocked
        await delivery.store(EVENTS, 1)

    _run(broker, work)
    assert broker.values == [b"1", b"2"] * 2
    assert broker.outcomes["accepted"] == 2


def test_a_broker_that_cannot_be_used_is_reported() -> None:
    """Waiting does not help, for example without rights."""
    broker = FakeBroker()
    broker.fault = "not allowed"
    with pytest.raises(BusUnavailable, match="not allowed"):
        _run(broker, lambda delivery: delivery.store(EVENTS))
