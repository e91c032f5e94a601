"""Run `lanner` with an unexpected failure in or at Faust's Kafka client. Usage: broken_client.py WHERE ARGUMENTS."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.consumer import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import CoordinatorGroupRebalance, GroupCoordinator
from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownError
from aiokafka.structs import TopicPartition

from lanner.__main__ import main
from processor.fleet.kafka import consumer_thread
from processor.fleet.kafka.consumer_thread import StalledPartitions

FAULTS: dict[str, tuple[type, str, Callable[[], BaseException], range]] = {
    # For longer than Faust takes to check its consumer.
    "start": (AIOKafkaConsumer, "start", lambda: KafkaConnectionError("broken for a test"), range(1, 9)),
    "heartbeat": (GroupCoordinator, "_do_heartbeat", lambda: KafkaError("broken for a test"), range(1, 2)),
    "coordinator": (
        GroupCoordinator,
        "ensure_coordinator_known",
        lambda: AssertionError("broken for a test"),
        range(1, 2),
    ),
    "joining": (GroupCoordinator, "_do_rejoin_group", lambda: KafkaError("broken for a test"), range(1, 2)),
    "metadata": (AIOKafkaClient, "_metadata_update", lambda: RuntimeError("broken for a test"), range(1, 2)),
    "fetching": (Fetcher, "_get_actions_per_node", lambda: RuntimeError("broken for a test"), range(20, 21)),
    "records": (Fetcher, "fetched_records", lambda: KafkaError("broken for a test"), range(20, 21)),
    # They are fetched, and never delivered.
    "skipped": (Fetcher, "fetched_records", AssertionError, range(2, 5)),
    # They are paused, and never resumed.
    "stalled": (Fetcher, "_get_actions_per_node", AssertionError, range(20, 21)),
    # While the ends are queried, a partition goes to another member of the group.
    "revoked": (AIOKafkaConsumer, "end_offsets", AssertionError, range(1, 2)),
    # All partitions go, without a rebalance.
    "gone": (AIOKafkaConsumer, "end_offsets", AssertionError, range(1, 4)),
    # A broker that has just started reports no topic yet when the processor is given its partitions.
    "no topics": (CoordinatorGroupRebalance, "perform_group_join", AssertionError, range(1, 2)),
    # Nor to the leader that assigns them, for longer than it waits.
    "unreported topics": (AIOKafkaClient, "_metadata_update", AssertionError, range(1, 15)),
    "watching": (StalledPartitions, "look", lambda: RuntimeError("broken for a test"), range(2, 4)),
    "commit": (AIOKafkaConsumer, "commit", UnknownError, range(1, 2)),
    "positions": (AIOKafkaConsumer, "seek_to_committed", UnknownError, range(1, 2)),
    # The client itself queries them, too.
    "canceled start offsets": (GroupCoordinator, "fetch_committed_offsets", asyncio.CancelledError, range(1, 4)),
    "canceled oldest offsets": (AIOKafkaConsumer, "beginning_offsets", asyncio.CancelledError, range(1, 2)),
    "canceled seek": (AIOKafkaConsumer, "seek_to_committed", asyncio.CancelledError, range(1, 2)),
    "canceled joining": (GroupCoordinator, "_do_rejoin_group", asyncio.CancelledError, range(1, 2)),
    "canceled heartbeat": (GroupCoordinator, "_do_heartbeat", asyncio.CancelledError, range(1, 2)),
    "canceled metadata": (AIOKafkaClient, "_metadata_update", asyncio.CancelledError, range(1, 2)),
    "canceled fetching": (Fetcher, "_get_actions_per_node", asyncio.CancelledError, range(20, 21)),
    "canceled records": (Fetcher, "fetched_records", asyncio.CancelledError, range(20, 21)),
    "canceled commit": (AIOKafkaConsumer, "commit", asyncio.CancelledError, range(1, 2)),
}
"""By name: class, method, exception, and the calls that raise it."""


def break_at(where: str) -> None:
    """Make one method raise."""
    owner, name, failure, at = FAULTS[where]
    whole = getattr(owner, name)
    consumer_thread._ASK_SECONDS = 1.0
    calls = 0

    def due() -> bool:
        nonlocal calls
        calls += 1
        return calls in at

    if where == "skipped":

        async def losing(*arguments: Any, **options: Any) -> Any:
            found = await whole(*arguments, **options)
            return {} if found and due() else found

        setattr(owner, name, losing)
    elif where == "stalled":
        consumer_thread.STALLED_SECONDS = 3.0

        def pausing(fetcher: Any, assignment: Any) -> Any:
            if due():
                for partition in assignment.tps:
                    assignment.state_value(partition).pause()
            return whole(fetcher, assignment)

        setattr(owner, name, pausing)
    elif where in ("revoked", "gone"):

        async def revoking(consumer: Any, partitions: Any) -> Any:
            found = await whole(consumer, partitions)
            if found and due():
                found[TopicPartition(partitions[0].topic, 10_000)] = 1
                if where == "gone":
                    consumer._subscription.assign_from_subscribed([])
                    consumer._coordinator.request_rejoin()
            return found

        setattr(owner, name, revoking)
    elif where == "unreported topics":

        async def reporting_none(client: Any, cluster: Any, topics: Any) -> Any:
            found = await whole(client, cluster, topics)
            if due():
                cluster._partitions.clear()
            return found

        setattr(owner, name, reporting_none)
    elif where == "no topics":

        async def forgetting(rebalance: Any) -> Any:
            found = await whole(rebalance)
            if due():
                rebalance._coordinator._cluster._partitions.clear()
            return found

        setattr(owner, name, forgetting)
    elif asyncio.iscoroutinefunction(whole):

        async def broken_later(*arguments: Any, **options: Any) -> Any:
            if due():
                raise failure()
            return await whole(*arguments, **options)

        setattr(owner, name, broken_later)
    else:

        def broken(*arguments: Any, **options: Any) -> Any:
            if due():
                raise failure()
            return whole(*arguments, **options)

        setattr(owner, name, broken)


if __name__ == "__main__":
    break_at(sys.argv.pop(1))
    sys.exit(main())
