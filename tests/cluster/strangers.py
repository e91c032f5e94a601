"""Members of the processors' consumer group that are no processors."""

import asyncio
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import KafkaError
from aiokafka.protocol.commit import OffsetCommitRequest
from confluent_kafka import TopicPartition

from bus.connection import Connection
from bus.topics import CORRELATE, EVENTS, PROCESSOR_GROUP


def assignor(name: str, user_data: bytes, answer: bytes = b"") -> Any:
    """Return an assignor that joins with arbitrary bytes and, where it leads, assigns nothing to anybody.

    Args:
        name: of the protocol.
        user_data: what it joins with.
        answer: what it sends to all members where it leads.
    """

    class Assignor(AbstractPartitionAssignor):  # type: ignore[misc]  # aiokafka has no types
        """Garbage in, nothing out."""

        @property
        def name(self) -> str:
            """The name of the protocol."""
            return name

        def metadata(self, topics: Any) -> Any:
            """Return what it joins with."""
            return ConsumerProtocolMemberMetadata(4, list(topics), user_data)

        def assign(self, cluster: Any, members: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002  its signature
            """Assign nothing."""
            return {member: ConsumerProtocolMemberAssignment(4, [], answer) for member in members}

        def on_assignment(self, assignment: Any) -> None:
            """Do nothing."""

    return Assignor()


class Stranger:
    """A member of the group, on a thread of its own."""

    def __init__(self, connection: Connection, strategy: Any, **options: Any) -> None:
        """Begin outside of the group. strategy: an assignor; options: of the client."""
        self._connection = connection
        self._strategy = strategy
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._consumer: Any = None

    def call(self, work: Any, timeout: float = 30) -> Any:
        """Run a coroutine on its thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def join(self) -> None:
        """Begin to join; nobody waits for the result."""

        async def start() -> None:
            self._consumer = AIOKafkaConsumer(
                bootstrap_servers=self._connection.bootstrap_servers,
                group_id=self._connection.topic(PROCESSOR_GROUP),
                client_id="stranger",
                enable_auto_commit=False,
                partition_assignment_strategy=[self._strategy],
                **({"session_timeout_ms": 6000, "heartbeat_interval_ms": 500} | self._options),
            )
            await self._consumer.start()
            self._consumer.subscribe([self._connection.topic(EVENTS), self._connection.topic(CORRELATE)])

        self.call(start())

    def wait_for_generation(self, timeout: float = 20) -> None:
        """Wait until it is a member."""
        until = time.monotonic() + timeout
        while self.generation() < 0:
            assert time.monotonic() < until, "it is no member"
            time.sleep(0.1)

    def generation(self) -> int:
        """Return the generation that it is a member of; -1 if none."""
        return int(self._consumer._coordinator.generation)

    def commit(self, topic: str, offsets: Iterable[TopicPartition], by: str) -> None:
        """Commit offsets of a topic, as each member may for any partition. by: what it states as their origin."""
        coordinator = self._consumer._coordinator
        given = [(each.partition, each.offset, by) for each in offsets]
        answer = self.call(
            coordinator._send_req(
                OffsetCommitRequest(
                    coordinator.group_id,
                    coordinator.generation,
                    coordinator.member_id,
                    OffsetCommitRequest.DEFAULT_RETENTION_TIME,
                    [(topic, given)],
                )
            )
        )
        assert not any(error for _, parts in answer.topics for _, error in parts), answer

    def leave(self) -> None:
        """Leave the group."""
        with suppress(KafkaError, TimeoutError):
            self.call(self._consumer.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
