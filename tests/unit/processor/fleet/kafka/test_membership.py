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


class Coordinator:
    """The part of aiokafka's that a membership takes over."""

    member_id = "me"
    _subscription = SimpleNamespace(subscription=SimpleNamespace(topics={"events"}))

    def __init__(self, membership: Membership, *reported: dict[str, set[int]]) -> None:
        """Begin. reported: the partitions of topics that the broker reports first, when asked again, and so on."""
        self.membership = membership
        self.reported = list(reported)
        self.rejoins = 0
        self._cluster = SimpleNamespace(partitions_for_topic=self._partitions)
        self._client = SimpleNamespace(force_metadata_update=self._ask)
        membership.guard(self)

    def request_rejoin(self) -> None:
        """Count it."""
        self.rejoins += 1

    def _partitions(self, topic: str) -> set[int] | None:
        return self.reported[0].get(topic)

    async def _ask(self) -> None:
        if len(self.reported) > 1:
            del self.reported[0]

    async def _send_req(self, request: object) -> object:
        return SimpleNamespace(leader_id="me", request=request)

    async def _on_join_complete(self, _generation: int, _member: str, _protocol: str, data: bytes) -> None:
        self.membership.on_assignment(ConsumerProtocolMemberAssignment.decode(data))


BOTH = [TopicPartition("events", 0), TopicPartition("events", 1)]


def test_partitions_were_kept_only_from_one_generation_to_the_next() -> None:
    """After a generation without this processor, another one may have had them."""
    membership = Membership("w", lambda _: None)
    coordinator = Coordinator(membership, {"events": {0, 1}})
    kept = []
    for generation, partitions in ((4, BOTH), (5, BOTH[:1]), (6, BOTH), (8, BOTH)):
        data = _assignment(partitions).encode()
        asyncio.run(coordinator._on_join_complete(generation, "me", PROTOCOL, data))
        kept.append(membership.kept & set(partitions))

    assert kept == [set(), {BOTH[0]}, {BOTH[0]}, set()]
    assert not coordinator.rejoins


@pytest.mark.parametrize(
    ("reported", "owned", "rejoins"),
    [([{}, {}, {"events": {0, 1}}], BOTH, 0), ([{"events": {0}}], BOTH[:1], 1), ([{"other": {0, 1}}], [], 1)],
)
def test_a_partition_that_the_broker_does_not_report_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch, reported: list[dict[str, set[int]]], owned: list[TopicPartition], rejoins: int
) -> None:
    """The broker is asked again, and then the group is joined again: otherwise nobody would read the partition."""
    monkeypatch.setattr("processor.fleet.kafka.membership._TOPIC_SECONDS", 0)
    membership = Membership("w", lambda _: None)
    coordinator = Coordinator(membership, *reported)
    asyncio.run(coordinator._on_join_complete(1, "me", PROTOCOL, _assignment(BOTH).encode()))
    assert list(membership._owned) == owned
    assert coordinator.rejoins == rejoins
