import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from bus.acls import json_source_grants
from bus.administration import Administration, GroupLags
from bus.connection import Connection, client_config
from bus.topics import ALL_TOPICS
from foundation.text import ignore_note
from lanner.recorder.store import EventRange
from lanner.recorder.topic import TopicStore
from lanner.wiring.stages.consoles import fleet_pipeline
from tests.cluster.secured import SecuredBroker

SIEM = {"siem.falco", "siem.ecs", "siem.ocsf", "siem.cim"}
CHANGELOG = "processor-correlation-changelog"
ACTIONS = {"action-intents", "action-decisions", "action-results"}
MAY_WRITE: dict[str, set[str]] = {
    "collector": {"events", "hosts", "action-results"},
    "processor": {"correlate", CHANGELOG, "interest", "alerts", "dlq.processor", "schemas", "processors", "host-pins"}
    | {"sessions", "quiet-hosts", "action-requests", "processor-actions-changelog", "action-intents"},
    "kubernetes": {"pods"},
    "kubernetes-audit": {"kubernetes-audit", "dlq.processor"},
    "notifier": SIEM | {"dlq.notifier"},
    "console": {"console-marks", "console-audit", "action-intents", "action-decisions"},
    "intake": {"alerts", "schemas"},
    "dead-letters": {"dlq.notifier", "dlq.processor", "alerts", "events", "correlate", "kubernetes-audit"},
    "state": {"correlate"},
    "publisher": {"rules"},
    "responder": {"action-intents", "action-decisions"},
    "enroller": {"host-pins", "host-keys"},
    "reader": set(),
    "operator": set(),
}
MAY_READ: dict[str, set[str]] = {
    "collector": {"interest", "action-intents", "action-decisions"},
    "processor": {"events", "correlate", CHANGELOG, "rules", "interest", "schemas", "processors"}
    | {"host-pins", "host-keys", "pods", "kubernetes-audit", "sessions", "quiet-hosts"}
    | {"action-requests", "processor-actions-changelog", *ACTIONS},
    "kubernetes": {"pods"},
    "kubernetes-audit": set(),
    "notifier": {"alerts", "schemas"},
    "console": {
        "alerts",
        "events",
        "correlate",
        "rules",
        "processors",
        "schemas",
        "console-marks",
        "dlq.processor",
        "dlq.notifier",
        *ACTIONS,
    },
    "intake": set(),
    "dead-letters": {"dlq.notifier", "dlq.processor", "alerts", "events", "correlate", "kubernetes-audit"},
    "state": {"events", "correlate", CHANGELOG, "rules", "processors", "schemas"},
    "publisher": {"rules"},
    "responder": ACTIONS,
    "enroller": {"hosts", "host-pins", "host-keys"},
    "reader": SIEM,
    "operator": set(ALL_TOPICS),
}
GROUPS = ("processor", "notifier.formats.ecs", "notifier.sinks.slack", "siem.elastic", "another")
MAY_DESCRIBE = {
    "processor": {"processor"},
    "notifier": {"notifier.formats.ecs", "notifier.sinks.slack"},
    "console": {"processor", "notifier.formats.ecs", "notifier.sinks.slack", "siem.elastic"},
    "reader": {"siem.elastic"},
    "operator": set(GROUPS),
}
DENIED = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)


def written(connection: Connection) -> set[str]:
    """Return the topics that a user can write to."""
    producer = Producer(client_config(connection, "test") | {"acks": "all", "message.timeout.ms": 20_000})
    answers: dict[str, KafkaError | None] = {}

    def report(name: str) -> Callable[[KafkaError | None, Message], None]:
        return lambda error, _: answers.__setitem__(name, error)

    for name in ALL_TOPICS:
        producer.produce(connection.topic(name), b"x", b"x", on_delivery=report(name))
    assert producer.flush(30) == 0
    assert all(error is None or error.code() in DENIED for error in answers.values()), answers
    return {name for name, error in answers.items() if error is None}


def read(connection: Connection) -> set[str]:
    """Return the topics that a user can read."""
    config: dict[str, Any] = client_config(connection, "test") | {"group.id": "none", "enable.auto.commit": False}
    config["enable.partition.eof"] = True
    consumer = Consumer(config)
    # The right to read includes that to see: what can't even be seen can't be read.
    topics = consumer.list_topics(timeout=10).topics
    seen = [name for name in ALL_TOPICS if connection.topic(name) in topics]
    consumer.assign([TopicPartition(connection.topic(name), 0, OFFSET_BEGINNING) for name in seen])
    answers: dict[str, bool] = {}
    until = time.monotonic() + 20
    while len(answers) < len(seen) and time.monotonic() < until:
        message = consumer.poll(0.2)
        if message is None or message.topic() is None:
            continue
        error = message.error()
        answers[(message.topic() or "").removeprefix(connection.prefix)] = error is None or error.code() not in DENIED
    consumer.close()
    assert len(answers) == len(seen)
    return {name for name, may in answers.items() if may}


def described(connection: Connection) -> set[str]:
    """Return the groups that a user can describe; the right to join them includes that."""
    client = AdminClient(client_config(connection, "test"))
    answers = client.describe_consumer_groups([connection.topic(name) for name in GROUPS], request_timeout=10)
    found = set()
    for name, answer in answers.items():
        error = answer.exception(20)
        if error is None or error.args[0].code() not in DENIED:
            found.add(name.removeprefix(connection.prefix))
    return found


@pytest.mark.parametrize("part", MAY_WRITE)
def test_a_part_can_do_what_it_does_and_nothing_else(secured: SecuredBroker, part: str) -> None:
    """Each part can write, read and describe exactly what its grants list."""
    connection = secured.by_certificate(f"lanner-{part}", secured.fleet())
    assert written(connection) == MAY_WRITE[part]
    assert read(connection) == MAY_READ[part]
    assert described(connection) == MAY_DESCRIBE.get(part, set())


@pytest.mark.parametrize("part", MAY_WRITE)
def test_no_part_can_change_the_broker(secured: SecuredBroker, part: str) -> None:
    """Only an administrator can change topics, settings, ACLs and users."""
    prefix = secured.fleet()
    user = f"lanner-{part}"
    client = AdminClient(client_config(secured.by_certificate(user, prefix), "test"))
    entry = ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
    setting = ConfigResource(ResourceType.TOPIC, f"{prefix}events", incremental_configs=[entry])
    everything = AclBinding(
        ResourceType.TOPIC,
        "*",
        ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        AclOperation.ALL,
        AclPermissionType.ALLOW,
    )
    password = UserScramCredentialUpsertion("admin", ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), b"mine")
    answers: list[Future[Any]] = [
        *client.create_topics([NewTopic(f"{prefix}new", 1, 1)]).values(),
        *client.delete_topics([f"{prefix}events"]).values(),
        *client.incremental_alter_configs([setting]).values(),
        *client.create_acls([everything]).values(),
        *client.alter_user_scram_credentials([password]).values(),
    ]
    for answer in answers:
        with pytest.raises(KafkaException) as refused:
            answer.result(20)
        assert refused.value.args[0].code() in DENIED


def test_the_rights_of_the_console_are_enough_for_its_pages(secured: SecuredBroker) -> None:
    """It reads how far groups are behind, dead letters and events."""
    connection = secured.by_certificate("lanner-console", secured.fleet())
    assert [(each.group, each.topic) for each in GroupLags(connection).read()] == []
    with fleet_pipeline(connection).stores() as stores:
        assert [list(store.dead_letters()) for store in stores] == [[], []]
    times = EventRange(0, time.time_ns() // 1_000_000)
    portions = TopicStore(connection, ignore_note).portions(times, lambda: False)
    assert [list(portion.batches) for portion in portions] == [[]]


def test_a_topic_of_others_can_be_read_by_processors_only(secured: SecuredBroker) -> None:
    """The rights on it come from the settings that name it, and its name has no prefix."""
    prefix = secured.fleet()
    topic = f"shop-{prefix}events"
    admin = secured.by_certificate("admin", prefix)
    client = AdminClient(client_config(admin, "test"))
    (created,) = client.create_topics([NewTopic(topic, 1, 1)]).values()
    created.result(20)
    Administration(admin).allow(json_source_grants("processor", [topic]), "User:lanner-processor")
    seen: dict[str, bool] = {}
    until = time.monotonic() + 20
    while not seen.get("processor") and time.monotonic() < until:
        for part in ("processor", "console"):
            connection = secured.by_certificate(f"lanner-{part}", prefix)
            seen[part] = bool(Administration(connection).existing((topic,)))
    assert seen == {"processor": True, "console": False}
