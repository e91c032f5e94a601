"""The queues of the partitions that a correlate stage owns."""

import asyncio

from processor.fleet.stateful_service import PartitionQueues


async def full() -> tuple[PartitionQueues, "asyncio.Task[None]"]:
    """Return queues of which one is full, and a reader that waits for room in it."""
    queues = PartitionQueues(1)
    queues.open([0, 1])
    await queues.of[0].put("first")
    waiting = asyncio.create_task(queues.of[0].put("second"))
    await asyncio.sleep(0)
    assert not waiting.done()
    return queues, waiting


def test_a_reader_does_not_wait_for_a_partition_that_went() -> None:
    """Otherwise it would never read the partitions of the next assignment: nobody takes from a former queue."""

    async def rebalance() -> None:
        queues, waiting = await full()
        queues.close()
        assert not queues.of
        await asyncio.wait_for(waiting, 5)
        queues.open([1])
        await asyncio.wait_for(queues.of[1].put("third"), 5)

    asyncio.run(rebalance())


def test_a_new_assignment_replaces_the_former_one() -> None:
    """Nothing of a former queue reaches a new one, not even if partitions were not taken away before."""

    async def reassign() -> None:
        queues, waiting = await full()
        queues.open([0])
        await asyncio.wait_for(waiting, 5)
        assert queues.of[0].empty()

    asyncio.run(reassign())


def test_the_end_follows_what_waits() -> None:
    """A full queue gets none: its task ends with the process."""

    async def end() -> None:
        queues, waiting = await full()
        queues.end()
        queues.open([2])
        await waiting
        queues.end()
        assert await queues.of[2].get() is None

    asyncio.run(end())
