"""Create topics and ACLs, and inspect existing topics."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
)

from bus.acls import Grant
from bus.clients.errors import TIMEOUT_SECONDS, ClientErrors, ask, is_forbidden, unavailable, unusable
from bus.clients.readers import make_consumer
from bus.connection import BusUnavailable, Connection, client_config
from bus.topics import ALERTS, CORRELATE, EVENTS, KUBERNETES_AUDIT, PROCESSOR_GROUP, TopicPlan, TopicState


class Administration:
    """One admin client. Every call raises BusUnavailable if the broker doesn't answer or refuses."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client_errors = ClientErrors(connection)
        config: dict[str, Any] = {
            "socket.timeout.ms": int(TIMEOUT_SECONDS * 1000),
            "error_cb": self._client_errors.on_error,
        }
        try:
            self._client = AdminClient(client_config(connection, "lanner-admin") | config)
        except KafkaException as error:
            raise unusable(error.args[0]) from None

    def states(self, names: Sequence[str]) -> dict[str, TopicState]:
        """Return the state of each topic that exists."""
        metadata = self._metadata()
        topics = metadata.topics
        there = [name for name in names if name in topics and not topics[name].error]
        if self._connection.security_protocol != "plaintext":
            self._check_hidden([name for name in names if name not in there])
        configs = self._configs(there)
        found = {}
        for name in there:
            partitions = topics[name].partitions
            copies = min((len(each.replicas) for each in partitions.values()), default=0)
            config = configs.get(name, {})
            retention = config.get("retention.ms")
            found[name] = TopicState(
                name,
                len(partitions),
                copies,
                config.get("cleanup.policy"),
                int(retention) if retention else None,
                config.get("message.timestamp.type"),
                len(metadata.brokers),
            )
        return found

    def existing(self, names: Sequence[str], wait_seconds: float = 0) -> frozenset[str]:
        """Return the topics that exist and that this client may see.

        The controller creates a topic before all brokers know of it: with wait_seconds, wait that long for those that
        are missing.
        """
        deadline = time.monotonic() + wait_seconds
        while True:
            topics = self._metadata().topics
            found = frozenset(name for name in names if name in topics and not topics[name].error)
            if len(found) == len(names) or time.monotonic() >= deadline:
                return found
            time.sleep(_POLL_SECONDS)

    def _check_hidden(self, names: Sequence[str]) -> None:
        """Raise BusUnavailable for a topic that this client may not see; it would otherwise look like a missing one."""
        if not names:
            return
        answers = self._client.describe_topics(TopicCollection(list(names)), request_timeout=TIMEOUT_SECONDS)
        for name, answer in answers.items():
            error = answer.exception()
            if isinstance(error, KafkaException) and is_forbidden(error.args[0]):
                raise unavailable(
                    self._connection, KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, f"to use topic {name}")
                )

    def create(self, plans: Sequence[TopicPlan], *, dry_run: bool = False) -> None:
        """Create topics, ignoring those that exist. With dry_run, only check whether the broker would create them."""
        if not plans:
            return
        new_topics = [
            NewTopic(
                each.name, num_partitions=each.partitions, replication_factor=each.replication, config=dict(each.config)
            )
            for each in plans
        ]
        answers = self._client.create_topics(new_topics, validate_only=dry_run, request_timeout=TIMEOUT_SECONDS)
        for name, answer in answers.items():
            try:
                answer.result()
            except KafkaException as error:
                reason = error.args[0]
                if reason.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                    continue
                if reason.code() == KafkaError.INVALID_REPLICATION_FACTOR:
                    raise BusUnavailable(
                        f"topic {name} can't be created ({reason.str()})",
                        "set --replication-factor to at most the number of brokers",
                    ) from None
                raise self._client_errors.unavailable(reason) from None

    def allow(self, grants: Sequence[Grant], principal: str) -> None:
        """Add ACLs for a principal such as User:lanner-collector; existing ones are left unchanged."""
        self._metadata()
        bindings = [
            AclBinding(
                ResourceType[each.resource],
                each.full_name(self._connection.prefix),
                ResourcePatternType.PREFIXED if each.is_prefix else ResourcePatternType.LITERAL,
                principal,
                "*",
                AclOperation[each.operation],
                AclPermissionType.ALLOW,
            )
            for each in grants
        ]
        for answer in self._client.create_acls(bindings, request_timeout=TIMEOUT_SECONDS).values():
            try:
                answer.result()
            except KafkaException as error:
                reason = error.args[0]
                if reason.code() == KafkaError.SECURITY_DISABLED:
                    raise BusUnavailable(
                        f"the broker at {self._connection.bootstrap_servers} has no authorizer",
                        "set authorizer.class.name there, as deploy/kafka/secured.properties does",
                    ) from None
                raise self._client_errors.unavailable(reason) from None

    def _metadata(self) -> Any:
        return ask(self._client, self._client_errors, lambda seconds: self._client.list_topics(timeout=seconds))

    def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        answers: dict[ConfigResource, Future[Any]] = self._client.describe_configs(
            resources, request_timeout=TIMEOUT_SECONDS
        )
        found = {}
        for resource, answer in answers.items():
            try:
                entries = answer.result()
            except KafkaException as error:
                if not is_forbidden(error.args[0]):
                    raise self._client_errors.unavailable(error.args[0]) from None
                # A client that may not read the configuration may still use the topic.
                continue
            found[resource.name] = {name: entry.value for name, entry in entries.items() if entry.value is not None}
        return found


@dataclass(frozen=True, slots=True)
class Created:
    """The topics that were created, and those that existed."""

    made: tuple[TopicPlan, ...]
    there: tuple[TopicState, ...]


def create_missing(connection: Connection, plans: Sequence[TopicPlan], *, dry_run: bool = False) -> Created:
    """Create the topics that don't exist; leave the others unchanged. Raises BusUnavailable.

    Wait until brokers know of them: otherwise, a processor that is started next might report that one is missing.
    """
    administration = Administration(connection)
    states = administration.states([each.name for each in plans])
    missing = tuple(each for each in plans if each.name not in states)
    administration.create(missing, dry_run=dry_run)
    if not dry_run:
        administration.existing([each.name for each in missing], TIMEOUT_SECONDS)
    return Created(missing, tuple(states.values()))


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

    def __init__(self, connection: Connection, further: Iterable[str] = ()) -> None:
        """Begin. further: complete names of topics that processors read in addition to Lanner's own."""
        self._connection = connection
        self._further = {connection.topic(KUBERNETES_AUDIT), *further}
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
                if topic in self._further and not lows.get(topic):
                    # This user may not see it.
                    continue
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
        name = group.removeprefix(self._connection.prefix)
        own, further = topics_of_group(name), self._further if name == PROCESSOR_GROUP else ()
        found: dict[str, dict[int, int]] = {self._connection.topic(each): {} for each in own}
        for each in self._answer(answer).topic_partitions or ():
            if not own or each.topic in found or each.topic in further:
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
