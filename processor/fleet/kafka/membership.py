"""Membership in the processors' consumer group: who is given partitions, and what strangers cannot do to the others.

Anyone who reaches the broker, and with ACLs anyone with the right to read the group, can join it with any bytes, lead
it, and delay it. So processors have a protocol of their own, and believe only members and leaders that speak it.
Strangers are given no partitions; leaders that assign something else, and members that delay the group, are removed.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.structs import TopicPartition

PROTOCOL = "lanner"
"""Name of the group's protocol: consumers that were not made for this group can't join it."""
_MARK = b"lanner processor\0"
_MAX_METADATA_BYTES = 1 << 20
_MAX_TOPICS = 200
_MAX_NAME = 200
_TOPIC_TRIES, _TOPIC_SECONDS = 10, 0.2
"""How often, and at what interval, to query a broker that does not report topics, as while it starts."""
STUCK_SECONDS = 12.0
"""How long the group may take to gather: longer than a hung processor may delay it, which is 8 s."""


@dataclass(frozen=True, slots=True)
class Member:
    """A processor as a member of the group."""

    worker: str
    """The name of the processor."""
    topics: frozenset[str]
    owned: frozenset[TopicPartition] = frozenset()
    """The partitions that it had before."""


def read_member(data: bytes) -> Member | None:
    """Decode what a member joined with; None if it is no processor. data: as it sent it, which may be anything."""
    if len(data) > _MAX_METADATA_BYTES:
        return None
    try:
        found = ConsumerProtocolMemberMetadata.decode(data)
        if not found.user_data.startswith(_MARK) or len(found.subscription) > _MAX_TOPICS:
            return None
        worker, owned = json.loads(found.user_data.removeprefix(_MARK))
        return Member(
            _text(worker)[:_MAX_NAME],
            frozenset(map(_text, found.subscription)),
            frozenset(
                TopicPartition(str(topic), int(number)) for topic, numbers in owned.items() for number in numbers
            ),
        )
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError, MemoryError, OverflowError):
        return None


def assign(partitions: Mapping[str, Iterable[int]], members: Mapping[str, Member]) -> dict[str, list[TopicPartition]]:
    """Return the partitions of each member: each topic's in equal parts, and as far as possible those that it had."""
    found: dict[str, list[TopicPartition]] = {member: [] for member in members}
    for topic in sorted(partitions):
        every = [TopicPartition(topic, number) for number in sorted(partitions[topic])]
        readers = sorted(member for member, each in members.items() if topic in each.topics)
        if not readers:
            continue
        parts: dict[str, list[TopicPartition]] = {member: [] for member in readers}
        least, more = divmod(len(every), len(readers))
        left = []
        for each in every:
            for member in readers:
                size = len(parts[member])
                if each in members[member].owned and (size < least or (size == least and more > 0)):
                    more -= size == least
                    parts[member].append(each)
                    break
            else:
                left.append(each)
        for each in left:
            fewest = min(readers, key=lambda member: (len(parts[member]), len(found[member]), member))
            parts[fewest].append(each)
        for member, part in parts.items():
            found[member] += part
    return found


class Membership:
    """One processor's membership, as an assignor of aiokafka's and as the group's guard."""

    name = PROTOCOL

    def __init__(self, worker: str, on_stranger: Callable[[str], None]) -> None:
        """Begin outside of the group.

        Args:
            worker: the name of this processor.
            on_stranger: receives what a stranger did, on the consumer's thread.
        """
        self.workers: frozenset[str] = frozenset()
        """The names of the members, if this processor leads the group."""
        self.kept: frozenset[TopicPartition] = frozenset()
        """The partitions that this processor had in the generation before, too: no other had them in between."""
        self._worker = worker
        self._on_stranger = on_stranger
        self._owned: tuple[TopicPartition, ...] = ()
        self._coordinator: Any = None
        self._leader = ""
        self._generation = -1

    def guard(self, coordinator: Any) -> None:
        """Check everything that comes from other members of a group. coordinator: aiokafka's, which has not joined."""
        self._coordinator = coordinator
        send, complete = coordinator._send_req, coordinator._on_join_complete  # noqa: SLF001  aiokafka has no other name

        async def send_noting_leader(request: Any) -> Any:
            response = await send(request)
            self._leader = getattr(response, "leader_id", self._leader)
            return response

        async def complete_checked(generation: int, member_id: str, protocol: str, data: bytes) -> None:
            checked, is_whole = await self._checked(data)
            self.kept = frozenset(self._owned if generation == self._generation + 1 else ())
            self._generation = generation
            await complete(generation, member_id, protocol, checked)
            if not is_whole:
                # Otherwise nobody would read the partitions that were left out.
                coordinator.request_rejoin()

        coordinator._send_req = send_noting_leader  # noqa: SLF001
        coordinator._on_join_complete = complete_checked  # noqa: SLF001
        coordinator._perform_assignment = self._lead  # noqa: SLF001

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Return what this processor joins with."""
        owned: dict[str, list[int]] = {}
        for each in self._owned:
            owned.setdefault(each.topic, []).append(each.partition)
        return ConsumerProtocolMemberMetadata(0, list(topics), _MARK + json.dumps([self._worker, owned]).encode())

    def on_assignment(self, assignment: Any) -> None:
        """Remember what was assigned."""
        self._owned = tuple(assignment.partitions())
        if self._leader != self._coordinator.member_id:
            self.workers = frozenset()

    def query_unknown_topics(self) -> None:
        """Query the broker again if it reported no partitions of a topic, as a broker that starts does.

        Once it reports them, aiokafka's leader has the group join again. By itself, it would ask after five minutes.
        """
        coordinator = self._coordinator
        subscription = coordinator._subscription.subscription  # noqa: SLF001
        if subscription is not None and not self._knows(subscription.topics):
            coordinator._client.force_metadata_update()  # noqa: SLF001

    async def remove_members(self) -> None:
        """Remove all other members of a group that doesn't come together; processors among them join again at once."""
        coordinator = self._coordinator
        # On a connection of its own: the one for the group waits for the answer of the group.
        client, node, group = coordinator._client, coordinator.coordinator_id, coordinator.group_id  # noqa: SLF001
        if node is None:
            return
        answer = await client.send(node, DescribeGroupsRequest([group]))
        for found in answer.groups:
            state, protocol, members = found[2], found[4], found[5]
            others = [each for each in members if each[0] != coordinator.member_id]
            names = sorted({f"{each[1]} ({each[2]})" for each in others})
            if others:
                self._on_stranger(
                    f"the group does not come together (state {state}, protocol {protocol or 'none'}), so nothing is "
                    f"evaluated: its other members were removed, {', '.join(names[:10])}"
                )
            for each in others:
                await client.send(node, LeaveGroupRequest(group, each[0]))

    async def _checked(self, data: bytes) -> tuple[bytes, bool]:
        """Return the usable part of an assignment, and whether that is all; remove a leader that is no processor."""
        coordinator = self._coordinator
        topics = coordinator._subscription.subscription.topics  # noqa: SLF001
        cluster = coordinator._cluster  # noqa: SLF001
        assigned: Sequence[tuple[str, list[int]]] = ()
        try:
            found = ConsumerProtocolMemberAssignment.decode(data)
            is_genuine = found.user_data == _MARK
            assigned = found.assignment if is_genuine else ()
        except (ValueError, TypeError, MemoryError, OverflowError):
            is_genuine = False
        assigned = [(topic, numbers) for topic, numbers in assigned if topic in topics and numbers]
        await self._wait_for({topic for topic, _ in assigned})
        usable = [
            (topic, sorted({*numbers} & (cluster.partitions_for_topic(topic) or set()))) for topic, numbers in assigned
        ]
        if not is_genuine and self._leader != coordinator.member_id:
            self._on_stranger("a member that is no processor led the group and assigned its partitions: it was removed")
            await coordinator._send_req(LeaveGroupRequest(coordinator.group_id, self._leader))  # noqa: SLF001
        encoded: bytes = ConsumerProtocolMemberAssignment(0, usable, _MARK).encode()
        return encoded, all(
            len(found) >= len(numbers) for (_, numbers), (_, found) in zip(assigned, usable, strict=True)
        )

    async def _lead(self, response: Any) -> Mapping[str, ConsumerProtocolMemberAssignment]:
        """Assign partitions; replaces aiokafka's, which ends for a member whose bytes it can't decode."""
        coordinator = self._coordinator
        read = {each[0]: read_member(each[-1]) for each in response.members}
        members = {name: member for name, member in read.items() if member is not None}
        if strangers := sorted(read.keys() - members.keys()):
            self._on_stranger(
                f"{len(strangers)} members of the group are no processors and are given no partitions, such as "
                f"{strangers[0][:100]}"
            )
        self.workers = frozenset(member.worker for member in members.values())
        topics = frozenset[str]().union(*(member.topics for member in members.values()))
        coordinator._group_subscription = set(topics)  # noqa: SLF001
        coordinator._client.set_topics(topics)  # noqa: SLF001
        await coordinator._client._maybe_wait_metadata()  # noqa: SLF001
        # Not for all: a member can name topics that don't exist.
        await self._wait_for(topics & coordinator._subscription.subscription.topics)  # noqa: SLF001
        cluster = coordinator._cluster  # noqa: SLF001
        partitions = {topic: found for topic in topics if (found := cluster.partitions_for_topic(topic))}
        assigned = assign(partitions, members)
        coordinator._metadata_snapshot = coordinator._get_metadata_snapshot()  # noqa: SLF001
        return {name: _assignment(assigned.get(name, ())) for name in read}

    async def _wait_for(self, topics: Iterable[str]) -> None:
        """Wait a little for a broker that has just started, and does not report the partitions of these topics yet."""
        for _ in range(_TOPIC_TRIES):
            if self._knows(topics):
                break
            await self._coordinator._client.force_metadata_update()  # noqa: SLF001
            await asyncio.sleep(_TOPIC_SECONDS)

    def _knows(self, topics: Iterable[str]) -> bool:
        return all(self._coordinator._cluster.partitions_for_topic(topic) for topic in topics)  # noqa: SLF001


def _text(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError
    return name


def _assignment(partitions: Iterable[TopicPartition]) -> ConsumerProtocolMemberAssignment:
    by_topic: dict[str, list[int]] = {}
    for each in partitions:
        by_topic.setdefault(each.topic, []).append(each.partition)
    return ConsumerProtocolMemberAssignment(0, sorted(by_topic.items()), _MARK)
