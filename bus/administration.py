"""Create topics and ACLs, and inspect existing topics."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from bus.acls import Grant
from bus.connection import Connection, client_config
from bus.errors.client_errors import TIMEOUT_SECONDS, ClientErrors, ask, is_forbidden, unavailable, unusable
from bus.errors.unavailable import BusUnavailable
from bus.topics import TopicPlan, TopicState


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
        topics = self._metadata().topics
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
            )
        return found

    def existing(self, names: Sequence[str]) -> frozenset[str]:
        """Return the topics that exist and that this client may see."""
        topics = self._metadata().topics
        return frozenset(name for name in names if name in topics and not topics[name].error)

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
                each.name,
                num_partitions=each.partitions,
                replication_factor=each.replication,
                config=dict(each.config),
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
    """Create the topics that don't exist; leave the others unchanged. Raises BusUnavailable."""
    administration = Administration(connection)
    states = administration.states([each.name for each in plans])
    missing = tuple(each for each in plans if each.name not in states)
    administration.create(missing, dry_run=dry_run)
    return Created(missing, tuple(states.values()))
