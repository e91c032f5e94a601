"""How far consumer groups are behind, by topic: how many messages wait, and since when. Joins no group."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    AdminClient,
    OffsetSpec,
)

from bus.clients.readers import make_consumer
from bus.connection import Connection, client_config
from bus.errors.client_errors import ClientErrors, unusable
from bus.topics import ALERTS, CORRELATE, EVENTS, PROCESSOR_GROUP

NOTIFIER_GROUPS = "notifier."
"""Prefix of the groups of sinks; without the connection's prefix."""
_SECONDS = 3.0
"""For each request."""
_OLDEST_SECONDS = 2.0
"""For the oldest messages of all groups."""
_POLL_SECONDS = 0.1

_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]

Offsets = Mapping[int, int]
"""By partition."""


@dataclass(frozen=True, slots=True)
class GroupLag:
    """How far a group is behind in a topic."""

    group: str
    """Without prefix."""
    topic: str
    """Without prefix."""
    members: int
    """The number of its running consumers."""
    waiting: int
    """Messages that it has not acknowledged."""
    oldest: float | None
    """When the oldest of them was appended, wall clock, seconds; None if none waits, or if it could not be read."""


class GroupLags:
    """One look at all groups with a connection's prefix. Every call may raise BusUnavailable."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._errors = ClientErrors(connection)
        try:
            self._client = AdminClient(client_config(connection, "lanner-lag") | {"error_cb": self._errors.on_error})
        except KafkaException as error:
            raise unusable(error.args[0]) from None

    def read(self) -> list[GroupLag]:
        """Return how far each group is behind, by group and topic."""
        prefix = self._connection.prefix
        found = self._answer(self._client.list_consumer_groups(request_timeout=_SECONDS))
        names = sorted(each.group_id for each in found.valid if each.group_id.startswith(prefix))
        if not names:
            return []
        described = self._client.describe_consumer_groups(names, request_timeout=_SECONDS)
        members = {name: len(self._answer(each).members) for name, each in described.items()}
        committed = {name: self._committed(name) for name in names}
        topics = {topic for each in committed.values() for topic in each}
        lows, highs = self._ends(topics, _EARLIEST), self._ends(topics, _LATEST)
        lags = []
        until = time.monotonic() + _OLDEST_SECONDS
        for name, by_topic in committed.items():
            for topic, offsets in sorted(by_topic.items()):
                starts = {
                    number: max(offsets.get(number, low), low)
                    for number, low in lows.get(topic, {}).items()
                    if max(offsets.get(number, low), low) < highs[topic].get(number, 0)
                }
                waiting = sum(highs[topic][number] - start for number, start in starts.items())
                oldest = self._oldest(topic, starts, until) if starts else None
                lags.append(
                    GroupLag(name.removeprefix(prefix), topic.removeprefix(prefix), members[name], waiting, oldest)
                )
        return lags

    def _committed(self, group: str) -> dict[str, dict[int, int]]:
        """Return a group's offsets by topic and partition; also of topics that it reads but has none for."""
        request = [ConsumerGroupTopicPartitions(group)]
        answer = self._client.list_consumer_group_offsets(request, request_timeout=_SECONDS)[group]
        own = topics_of_group(group.removeprefix(self._connection.prefix))
        found: dict[str, dict[int, int]] = {self._connection.topic(name): {} for name in own}
        for each in self._answer(answer).topic_partitions or ():
            if not own or each.topic in found:
                found.setdefault(each.topic, {})
                if each.offset >= 0:
                    found[each.topic][each.partition] = each.offset
        return found

    def _ends(self, topics: Iterable[str], spec: OffsetSpec) -> dict[str, dict[int, int]]:
        """Return the first or the last offset of each partition of topics, by topic; without those that don't exist."""
        known = self._ask(lambda: self._client.list_topics(timeout=_SECONDS)).topics
        requests = {
            TopicPartition(topic, number): spec
            for topic in topics
            if topic in known and not known[topic].error
            for number in known[topic].partitions
        }
        found: dict[str, dict[int, int]] = {topic: {} for topic in topics}
        if requests:
            for partition, answer in self._client.list_offsets(requests, request_timeout=_SECONDS).items():
                found[partition.topic][partition.partition] = self._answer(answer).offset
        return found

    def _oldest(self, topic: str, starts: Offsets, until: float) -> float | None:
        """Return when the oldest of the messages at offsets was appended; None if one can't be read in time."""
        consumer = make_consumer(self._connection, "lanner-lag", self._errors)
        stamps: dict[int, int] = {}
        try:
            consumer.assign([TopicPartition(topic, number, offset) for number, offset in starts.items()])
            while len(stamps) < len(starts) and time.monotonic() < until:
                message = consumer.poll(_POLL_SECONDS)
                if message is None or message.error() is not None:
                    continue
                number = message.partition() or 0
                if number not in stamps:
                    stamps[number] = message.timestamp()[1]
                    consumer.pause([TopicPartition(topic, number)])
        finally:
            consumer.close()
        return min(stamps.values()) / 1000 if len(stamps) == len(starts) else None

    def _answer(self, answer: Future[Any]) -> Any:
        return self._ask(lambda: answer.result(2 * _SECONDS))

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except KafkaException as error:
            raise self._errors.unavailable(error.args[0]) from None


def topics_of_group(group: str) -> Sequence[str]:
    """Return the topics that a group of Lanner reads, without prefix; none for groups of others."""
    if group == PROCESSOR_GROUP:
        return (EVENTS, CORRELATE)
    return (ALERTS,) if group.startswith(NOTIFIER_GROUPS) else ()
