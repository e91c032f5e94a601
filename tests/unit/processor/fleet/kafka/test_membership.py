"""Who is given partitions of the processors' group."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.structs import TopicPartition

from processor.fleet.kafka.membership import PROTOCOL, Member, Membership, _assignment, assign, read_member

TOPICS = frozenset({"events", "correlate"})


def joined(user_data: bytes, topics: list[str]) -> bytes:
    """Return what a member joins with."""
    encoded: bytes = ConsumerProtocolMemberMetadata(0, topics, user_data).encode()
    return encoded


def test_a_processor_is_recognized_by_what_it_joins_with() -> None:
    """It states the partitions that it had."""
    membership = Membership("w", lambda _: None)
    assert read_member(membership.metadata(sorted(TOPICS)).encode()) == Member("w", TOPICS)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 100,
        b"\x00\x00\x7f\xff\xff\xff",
        joined(b"", ["events"]),
        joined(b"lanner processor\0", ["events"]),
        joined(b"lanner processor\0[]", ["events"]),
        joined(b'lanner processor\0["w", []]', ["events"]),
        joined(b"lanner processor\0[1, {}]", ["events"]),
        joined(b'lanner processor\0["w", {"events": [{}]}]', ["events"]),
        joined(b'lanner processor\0["w", {"events": [1e999]}]', ["events"]),
        joined(b"lanner processor\0" + b"[" * 100_000, ["events"]),
        joined(b'lanner processor\0["w", {}]', [f"topic-{number}" for number in range(201)]),
        joined(b'lanner processor\0["w", {}]' + b" " * (1 << 20), ["events"]),
    ],
)
def test_other_bytes_are_no_processors(data: bytes) -> None:
    """Whatever they are, reading them raises nothing."""
    assert read_member(data) is None


def test_partitions_are_shared_equally_and_stay_where_they_were() -> None:
    """Each partition has one owner, also where members claim the same one, or one that doesn't exist."""
    partitions = {"events": range(8), "correlate": range(8)}
    first = assign(partitions, {"a": Member("a", TOPICS), "b": Member("b", TOPICS)})
    assert sorted(each for part in first.values() for each in part) == sorted(
        TopicPartition(topic, number) for topic in TOPICS for number in range(8)
    )
    assert {len(part) for part in first.values()} == {8}
    had = {name: Member(name, TOPICS, frozenset(part)) for name, part in first.items()}
    assert {name: set(part) for name, part in assign(partitions, had).items()} == {
        name: set(part) for name, part in first.items()
    }
    greedy = Member("c", TOPICS, frozenset(TopicPartition("events", number) for number in range(-5, 100)))
    third = assign(partitions, {**had, "c": greedy, "d": Member("d", frozenset({"other"}))})
    assert sum(map(len, third.values())) == len({each for part in third.values() for each in part}) == 16
    assert {name: len(part) for name, part in third.items() if name != "d"} == {"a": 6, "b": 6, "c": 4}
    assert third["d"] == []
    kept = {name: len(set(part) & had[name].owned) for name, part in third.items() if name in had}
    assert kept == {"a": 6, "b": 6}


def test_what_a_processor_joins_with_is_bounded() -> None:
    """Its partitions take a few bytes each."""
    membership = Membership("w", lambda _: None)
    membership._owned = tuple(TopicPartition("lanner.events", number) for number in range(10_000))
    data = membership.metadata(["lanner.events"]).encode()
    assert len(data) < 1 << 17
    found = read_member(data)
    assert found is not None
    assert len(found.owned) == 10_000
    assert json.loads(data[data.index(b"[") :])[1]["lanner.events"][:2] == [0, 1]


def test_partitions_were_kept_only_from_one_generation_to_the_next() -> None:
    """After a generation without this processor, another one may have had them."""

    class Coordinator:
        """The part of aiokafka's that a membership takes over."""

        member_id = "me"
        _subscription = SimpleNamespace(subscription=SimpleNamespace(topics={"events"}))
        _cluster = SimpleNamespace(partitions_for_topic=lambda _topic: {0, 1})

        async def _send_req(self, request: object) -> object:
            return SimpleNamespace(leader_id="me", request=request)

        async def _on_join_complete(self, _generation: int, _member: str, _protocol: str, data: bytes) -> None:
            membership.on_assignment(ConsumerProtocolMemberAssignment.decode(data))

    membership, coordinator = Membership("w", lambda _: None), Coordinator()
    membership.guard(coordinator)
    both = [TopicPartition("events", 0), TopicPartition("events", 1)]
    kept = []
    for generation, partitions in ((4, both), (5, both[:1]), (6, both), (8, both)):
        data = _assignment(partitions).encode()
        asyncio.run(coordinator._on_join_complete(generation, "me", PROTOCOL, data))
        kept.append(membership.kept & set(partitions))

    assert kept == [set(), {both[0]}, {both[0]}, set()]
