import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from confluent_kafka import Producer

from bus.clients.readers import TopicReader
from bus.connection import BusUnavailable, Connection
from bus.topics import KUBERNETES_AUDIT
from foundation.text import ignore_note
from lanner.intake.delivery import AuditDelivery, NotStored, open_delivery, packed
from lanner.intake.documents import RawEvent, split
from processor.detection.stage import DetectStage, compile_ruleset
from processor.fleet.json_stage import JsonStage
from processor.loading import RuleFile, load_rules
from tests.unit.lanner.intake.broker import FakeBroker
from tests.unit.processor.detection.requests import TIME, line, request

RULES = "- {rule: Get, desc: d, condition: ka.verb = get, output: o, priority: NOTICE, source: k8s_audit}"

EVENTS = [RawEvent(b"a", b"1"), RawEvent(None, b"2"), RawEvent(b"b", b"3")]


def _run(broker: FakeBroker, work: Callable[[AuditDelivery], Awaitable[None]]) -> None:
    async def run() -> None:
        async with broker.open() as delivery:
            await work(delivery)

    asyncio.run(run())


def test_events_are_stored_together() -> None:
    """One a line, under the id of the first; one without an id is alone. All are acknowledged when the call returns."""
    broker = FakeBroker()
    _run(broker, lambda delivery: delivery.store(EVENTS))

    assert broker.sent == [("t.kubernetes-audit", None, b"2"), ("t.kubernetes-audit", b"a", b"1\n3")]
    assert broker.outcomes == {"accepted": 3, "refused": 0}


def test_a_message_has_one_event_a_line_within_its_limit() -> None:
    """Line breaks within an event become spaces; one that is large is alone."""
    large, half = b"x" * (129 << 10), b"y" * (70 << 10)
    values = [b'{"a":\n1}', large, b"2", half, half, b"3"]
    groups = [[event.value for event in group] for group in packed(RawEvent(b"k", value) for value in values)]

    assert groups == [[large], [b'{"a": 1}', b"2", half], [half, b"3"]]
    assert list(packed([])) == []


def test_an_event_that_the_broker_refuses_becomes_a_dead_letter() -> None:
    """The others pass, also that of the same message; the event itself would not fit."""
    broker = FakeBroker()
    broker.refuses = b"1"
    _run(broker, lambda delivery: delivery.store(EVENTS))

    assert broker.values == [b"2", b"3", b""]
    assert broker.sent[-1][0] == "t.dlq.processor"
    assert broker.headers[-1]["reason"] == b"audit event a refused: too large"
    assert broker.headers[-1]["omitted_bytes"] == b"1"
    assert broker.outcomes == {"accepted": 2, "refused": 1}


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
    assert broker.values == [b"2", b"1\n3"] * 2
    assert broker.outcomes["accepted"] == 3


def test_a_broker_that_cannot_be_used_is_reported() -> None:
    """Waiting does not help, for example without rights."""
    broker = FakeBroker()
    broker.fault = "not allowed"
    with pytest.raises(BusUnavailable, match="not allowed"):
        _run(broker, lambda delivery: delivery.store(EVENTS))


def test_a_processor_reads_the_events_that_arrived_together() -> None:
    """Through the broker that the client library simulates; each event makes its alert."""
    simulated = Producer({"test.mock.num.brokers": "1", "bootstrap.servers": "unused:1", "log_level": 0})
    (broker,) = simulated.list_topics(timeout=20).brokers.values()
    connection = Connection(bootstrap_servers=f"{broker.host}:{broker.port}", prefix="t.")
    outcomes: Counter[str] = Counter()

    async def store() -> None:
        async with open_delivery(connection, outcomes, ignore_note) as delivery:
            await delivery.store(split(line([request(auditID=f"event-{number}") for number in range(300)])), 20)

    asyncio.run(store())
    reader = TopicReader(connection, connection.topic(KUBERNETES_AUDIT), whole=True)
    stage = JsonStage(DetectStage(compile_ruleset(load_rules([RuleFile("rules.yaml", RULES)]).rules, {})))
    found, messages = [], 0
    until = time.monotonic() + 20
    while not reader.has_read_all and time.monotonic() < until:
        if (message := reader.poll(0.2)) is not None:
            messages += 1
            found += stage.take(message.value(), ("t", 0, messages), TIME // 1_000_000).alerts
    reader.close()

    assert {alert.event["ka.auditid"] for alert in found} == {f"event-{number}" for number in range(300)}
    assert len(found) == 300
    assert messages < 5
    assert outcomes["accepted"] == 300
