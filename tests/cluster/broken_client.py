"""`lanner`, whose Kafka client for Faust fails once in a way that its makers did not expect: `… WHERE ARGUMENTS`."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.consumer import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownError

from lanner.__main__ import main

PLACES: dict[str, tuple[type, str, Callable[[], BaseException], int]] = {
    "start": (AIOKafkaConsumer, "start", lambda: KafkaConnectionError("broken for a test"), 1),
    "heartbeat": (GroupCoordinator, "_do_heartbeat", lambda: KafkaError("broken for a test"), 1),
    "coordinator": (GroupCoordinator, "ensure_coordinator_known", lambda: AssertionError("broken for a test"), 1),
    "joining": (GroupCoordinator, "_do_rejoin_group", lambda: KafkaError("broken for a test"), 1),
    "metadata": (AIOKafkaClient, "_metadata_update", lambda: RuntimeError("broken for a test"), 1),
    "fetching": (Fetcher, "_get_actions_per_node", lambda: RuntimeError("broken for a test"), 20),
    "records": (Fetcher, "fetched_records", lambda: KafkaError("broken for a test"), 20),
    "commit": (AIOKafkaConsumer, "commit", UnknownError, 1),
    "positions": (AIOKafkaConsumer, "seek_to_committed", UnknownError, 1),
}
"""By name: whose method raises what, at which call."""


def break_once(where: str) -> None:
    """Have one method raise once."""
    owner, name, failure, at = PLACES[where]
    whole = getattr(owner, name)
    calls = 0

    def due() -> bool:
        nonlocal calls
        calls += 1
        return calls == at

    if asyncio.iscoroutinefunction(whole):

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
    break_once(sys.argv.pop(1))
    sys.exit(main())
