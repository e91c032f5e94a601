"""What our transport changes of Faust's."""

import asyncio
from pathlib import Path

import aiokafka

from bus.connection import Connection
from processor.fleet.detect_service import make_app
from processor.fleet.kafka.transport import Consumer


def test_a_fetch_without_data_keeps_others_waiting_for_a_tenth_of_a_second(tmp_path: Path) -> None:
    """It has the private name that we set, and its fetcher is given that attribute's value at the start."""

    async def waits() -> tuple[object, object]:
        theirs = aiokafka.AIOKafkaConsumer(fetch_max_wait_ms=1500)
        app = make_app(Connection(bootstrap_servers="127.0.0.1:1"), 1, tmp_path)

        async def callback(_: object) -> None: ...

        made = app.transport.create_consumer(callback=callback, on_partitions_revoked=None, on_partitions_assigned=None)
        assert isinstance(made, Consumer)
        thread = made._new_consumer_thread()
        ours = thread._create_worker_consumer(app.transport)
        return vars(theirs)["_fetch_max_wait_ms"], vars(ours)["_fetch_max_wait_ms"]

    assert asyncio.run(waits()) == (1500, 100)
    assert "_fetch_max_wait_ms" in aiokafka.AIOKafkaConsumer.start.__code__.co_names
