"""What our transport changes of Faust's."""

import asyncio

import aiokafka
import faust
import pytest
from faust.types import TP

from bus.connection import Connection
from processor.fleet.detect_service import make_app
from processor.fleet.kafka.fetched import ReadOrder
from processor.fleet.kafka.transport import Consumer


def consumer() -> Consumer:
    """Return a consumer that is not connected."""

    async def callback(_: object) -> None: ...

    app = make_app(Connection(bootstrap_servers="127.0.0.1:1"), 1)
    made = app.transport.create_consumer(callback=callback, on_partitions_revoked=None, on_partitions_assigned=None)
    assert isinstance(made, Consumer)
    return made


def test_a_fetch_without_data_keeps_others_waiting_for_a_tenth_of_a_second() -> None:
    """It has the private name that we set, and its fetcher is given that attribute's value at the start."""

    async def waits() -> tuple[object, object]:
        theirs = aiokafka.AIOKafkaConsumer(fetch_max_wait_ms=1500)
        made = consumer()
        ours = made._new_consumer_thread()._create_worker_consumer(made.transport)
        return vars(theirs)["_fetch_max_wait_ms"], vars(ours)["_fetch_max_wait_ms"]

    assert asyncio.run(waits()) == (1500, 100)
    assert "_fetch_max_wait_ms" in aiokafka.AIOKafkaConsumer.start.__code__.co_names


def test_a_message_that_finds_room_is_passed_on_at_once() -> None:
    """No other task runs before the wait returns."""

    async def passed() -> tuple[object, bool]:
        asyncio.get_running_loop().call_soon(others_ran.set)
        results = await consumer().wait_first(after(0, "passed"), asyncio.Event().wait())
        return results.results, others_ran.is_set()

    others_ran = asyncio.Event()
    assert asyncio.run(passed()) == (["passed"], False)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_message_that_waits_for_room_is_passed_on_later(steps: int) -> None:
    """However often it waits."""

    async def passed() -> object:
        return (await consumer().wait_first(after(steps, "passed"), asyncio.Event().wait())).results

    assert asyncio.run(passed()) == ["passed"]


def test_a_message_without_room_is_given_up_when_the_flow_is_suspended() -> None:
    """The task that passes it on is canceled where it waits."""

    async def given_up() -> list[str]:
        suspended, ends = asyncio.Event(), []

        async def waiting() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ends.append("canceled")
                raise

        asyncio.get_running_loop().call_later(0.01, suspended.set)
        await consumer().wait_first(waiting(), suspended.wait())
        await asyncio.sleep(0)
        return ends

    assert asyncio.run(given_up()) == ["canceled"]


@pytest.mark.parametrize("steps", [0, 1])
def test_an_error_while_a_message_is_passed_on_is_raised(steps: int) -> None:
    """Before it waits as well as after."""

    async def failing() -> None:
        await after(steps, "")
        raise LookupError("no stream")

    async def failed() -> None:
        await consumer().wait_first(failing(), asyncio.Event().wait())

    with pytest.raises(LookupError, match="no stream"):
        asyncio.run(failed())


async def after(steps: int, result: str) -> str:
    """Return a result after so many steps of the loop."""
    for _ in range(steps):
        await asyncio.sleep(0)
    return result


def test_no_folder_is_made_for_tables_that_nobody_uses() -> None:
    """A process that is killed would leave it behind; the method is a private one of Faust's."""
    app = make_app(Connection(bootstrap_servers="127.0.0.1:1"), 1)

    app._create_directories()

    assert not app.conf.datadir.exists()
    assert "_create_directories" in faust.App.on_first_start.__code__.co_names


@pytest.mark.parametrize(("committed", "held"), [(399, 468), (468, 468), (480, 480), (541, 541), (600, 541)])
def test_faust_waits_for_no_offset_that_is_not_delivered_again(committed: int, held: int) -> None:
    """Reading began at 468, and 540 is evaluated: a broker may not have the last commits, or those of a stranger."""
    made, partition = consumer(), TP("events", 1)
    made._committed_offset[partition] = committed
    made._settled[partition] = 541
    made._hold_to({partition: ReadOrder(468, 0.0)})
    assert made.committed() == {partition: held}
