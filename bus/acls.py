"""The ACLs of each part of a fleet: only what it needs, so that a compromised part can't act as another.

The right to write is enough for idempotent producers. Source: Kafka's documentation, "Authorization and ACLs": since
2.8 the right to write to a topic includes InitProducerId.
"""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from bus.topics import (
    ACTION_DECISIONS,
    ACTION_INTENTS,
    ACTION_REQUESTS,
    ACTION_RESULTS,
    ACTIONS_TABLE,
    ALERTS,
    CONSOLE_AUDIT,
    CONSOLE_MARKS,
    CORRELATE,
    CORRELATION_TABLE,
    EVENTS,
    HOST_KEYS,
    HOST_PINS,
    HOSTS,
    KUBERNETES_AUDIT,
    NOTIFIER_DEAD_LETTERS,
    PODS,
    PROCESSOR_DEAD_LETTERS,
    PROCESSOR_GROUP,
    PROCESSORS,
    PUSHDOWN_FILTERS,
    QUIET_HOSTS,
    RULES,
    SCHEMAS,
    SESSIONS,
    SIEM_CIM,
    SIEM_ECS,
    SIEM_FALCO,
    SIEM_OCSF,
    changelog,
)

Operation = Literal["READ", "WRITE", "DESCRIBE", "DESCRIBE_CONFIGS"]
Resource = Literal["TOPIC", "GROUP"]

_STATE = changelog(CORRELATION_TABLE)
_BUDGETS = changelog(ACTIONS_TABLE)
ARCHIVE_GROUP = "archive"
"""The consumer group of `lanner archive`; without the connection's prefix."""
SIEM_GROUPS = "siem"
"""Prefix of the consumer groups that readers of the SIEM topics may use; without the connection's prefix."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One operation that is allowed on one resource."""

    resource: Resource
    name: str
    """Without the connection's prefix, unless it is complete."""
    operation: Operation
    is_prefix: bool = False
    """True if the grant covers all names that begin with `name`."""
    is_complete: bool = False
    """True if the connection's prefix is not added: the resource is not one of Lanner's own."""

    def full_name(self, prefix: str) -> str:
        """Return the name at the broker. prefix: the connection's."""
        return self.name if self.is_complete else f"{prefix}{self.name}"


def _topics(operation: Operation, *names: str) -> tuple[Grant, ...]:
    return tuple(Grant("TOPIC", name, operation) for name in names)


PARTS: Mapping[str, tuple[Grant, ...]] = MappingProxyType(
    {
        "collector": (
            *_topics("WRITE", EVENTS, HOSTS, ACTION_RESULTS),
            *_topics("READ", PUSHDOWN_FILTERS, ACTION_INTENTS, ACTION_DECISIONS),
        ),
        "processor": (
            *_topics(
                "READ", EVENTS, CORRELATE, _STATE, RULES, PUSHDOWN_FILTERS, PROCESSORS, SCHEMAS, HOST_PINS, HOST_KEYS
            ),
            *_topics("READ", PODS, KUBERNETES_AUDIT, SESSIONS, QUIET_HOSTS),
            *_topics("WRITE", CORRELATE, _STATE, PUSHDOWN_FILTERS, PROCESSORS, SCHEMAS, ALERTS, PROCESSOR_DEAD_LETTERS),
            *_topics("WRITE", HOST_PINS, SESSIONS, QUIET_HOSTS),
            *_topics("READ", ACTION_REQUESTS, _BUDGETS, ACTION_INTENTS, ACTION_DECISIONS, ACTION_RESULTS),
            *_topics("WRITE", ACTION_REQUESTS, _BUDGETS, ACTION_INTENTS),
            *_topics("DESCRIBE_CONFIGS", ACTION_REQUESTS, _BUDGETS, ACTION_INTENTS, ACTION_DECISIONS, ACTION_RESULTS),
            *_topics("DESCRIBE_CONFIGS", EVENTS, CORRELATE, _STATE, RULES, PUSHDOWN_FILTERS, PROCESSORS, SCHEMAS),
            *_topics("DESCRIBE_CONFIGS", ALERTS, PROCESSOR_DEAD_LETTERS, HOST_PINS, HOST_KEYS, PODS),
            *_topics("DESCRIBE_CONFIGS", KUBERNETES_AUDIT, SESSIONS, QUIET_HOSTS),
            Grant("GROUP", PROCESSOR_GROUP, "READ"),
        ),
        "kubernetes": (*_topics("READ", PODS), *_topics("WRITE", PODS), *_topics("DESCRIBE_CONFIGS", PODS)),
        # With the rights of kubernetes: `kubernetes.actions`.
        "kubernetes-actions": (
            *_topics("READ", ACTION_INTENTS, ACTION_DECISIONS, ACTION_RESULTS),
            *_topics("WRITE", ACTION_RESULTS),
        ),
        "kubernetes-audit": (
            *_topics("WRITE", KUBERNETES_AUDIT, PROCESSOR_DEAD_LETTERS),
            *_topics("DESCRIBE_CONFIGS", KUBERNETES_AUDIT, PROCESSOR_DEAD_LETTERS),
        ),
        "notifier": (
            *_topics("READ", ALERTS, SCHEMAS),
            *_topics("WRITE", SIEM_FALCO, SIEM_ECS, SIEM_OCSF, SIEM_CIM, NOTIFIER_DEAD_LETTERS),
            Grant("GROUP", "notifier.", "READ", is_prefix=True),
        ),
        "console": (
            *_topics("READ", ALERTS, EVENTS, CORRELATE, RULES, PROCESSORS, SCHEMAS, CONSOLE_MARKS),
            *_topics("READ", PROCESSOR_DEAD_LETTERS, NOTIFIER_DEAD_LETTERS),
            *_topics("WRITE", CONSOLE_MARKS, CONSOLE_AUDIT),
            *_topics("READ", ACTION_INTENTS, ACTION_DECISIONS, ACTION_RESULTS),
            *_topics("WRITE", ACTION_INTENTS, ACTION_DECISIONS),
            *_topics("DESCRIBE_CONFIGS", ALERTS, EVENTS, CORRELATE, SCHEMAS, CONSOLE_MARKS, CONSOLE_AUDIT),
            *_topics("DESCRIBE_CONFIGS", RULES, PROCESSORS, PROCESSOR_DEAD_LETTERS, NOTIFIER_DEAD_LETTERS),
            # How far they are behind; not the right to join them, which would take their messages.
            Grant("GROUP", PROCESSOR_GROUP, "DESCRIBE"),
            Grant("GROUP", "notifier.", "DESCRIBE", is_prefix=True),
            Grant("GROUP", SIEM_GROUPS, "DESCRIBE", is_prefix=True),
        ),
        "archive": (
            *_topics("READ", EVENTS, ALERTS, SCHEMAS),
            *_topics("DESCRIBE_CONFIGS", EVENTS, ALERTS, SCHEMAS),
            Grant("GROUP", ARCHIVE_GROUP, "READ"),
        ),
        # With the rights of archive: `archive.indicator_days`.
        "indicator-search": (*_topics("READ", RULES), *_topics("WRITE", ALERTS), *_topics("DESCRIBE_CONFIGS", RULES)),
        "intake": _topics("WRITE", ALERTS, SCHEMAS),
        "dead-letters": (
            *_topics("READ", NOTIFIER_DEAD_LETTERS, PROCESSOR_DEAD_LETTERS, ALERTS, EVENTS, CORRELATE),
            *_topics("WRITE", NOTIFIER_DEAD_LETTERS, PROCESSOR_DEAD_LETTERS, ALERTS, EVENTS, CORRELATE),
            *_topics("READ", KUBERNETES_AUDIT),
            *_topics("WRITE", KUBERNETES_AUDIT),
        ),
        # With the rights of publisher, or of operator, to read the rules.
        "state": (
            *_topics("READ", CORRELATE, _STATE, EVENTS, PROCESSORS, RULES, SCHEMAS),
            *_topics("WRITE", CORRELATE),
        ),
        "responder": (
            *_topics("READ", ACTION_INTENTS, ACTION_DECISIONS, ACTION_RESULTS),
            *_topics("WRITE", ACTION_INTENTS, ACTION_DECISIONS),
        ),
        "publisher": (*_topics("READ", RULES), *_topics("WRITE", RULES)),
        "enroller": (*_topics("READ", HOSTS, HOST_PINS, HOST_KEYS), *_topics("WRITE", HOST_PINS, HOST_KEYS)),
        "reader": (
            *_topics("READ", SIEM_FALCO, SIEM_ECS, SIEM_OCSF, SIEM_CIM),
            Grant("GROUP", SIEM_GROUPS, "READ", is_prefix=True),
        ),
        "operator": (
            Grant("TOPIC", "", "READ", is_prefix=True),
            Grant("TOPIC", "", "DESCRIBE_CONFIGS", is_prefix=True),
            Grant("GROUP", "", "DESCRIBE", is_prefix=True),
        ),
    }
)
"""The parts: the stages, the console, the archive and its search for new indicators, the intakes of alerts and of audit
events, the commands that settle dead letters, change what stateful rules remember, decide about actions, publish rules
and enroll hosts, readers of alerts as JSON, and operators, who may read everything."""
_JSON_SOURCES: Mapping[str, tuple[Operation, ...]] = MappingProxyType(
    {"processor": ("READ",), "dead-letters": ("READ", "WRITE")}
)
"""The parts that use the topics of `json_sources`: dead letters return to the topic that they came from."""


def topics_of(part: str) -> tuple[str, ...]:
    """Return the topics that a part uses, without prefix."""
    return tuple(dict.fromkeys(each.name for each in PARTS[part] if each.resource == "TOPIC"))


def json_source_grants(part: str, topics: Iterable[str]) -> tuple[Grant, ...]:
    """Return what a part needs of the topics that processors read in addition to Lanner's own.

    Args:
        part: a key of PARTS.
        topics: their complete names.
    """
    operations = _JSON_SOURCES.get(part, ())
    return tuple(Grant("TOPIC", name, each, is_complete=True) for name in topics for each in operations)


def audit_topic_grants(part: str, topic: str, group: str) -> tuple[Grant, ...]:
    """Return what a part needs to read audit events from a topic. topic, group: complete names."""
    if part != "kubernetes-audit":
        return ()
    return (Grant("TOPIC", topic, "READ", is_complete=True), Grant("GROUP", group, "READ", is_complete=True))


def commands(grants: tuple[Grant, ...], prefix: str, principal: str, bootstrap_servers: str) -> list[str]:
    """Return the commands that add grants with Kafka's own tool, one per resource.

    Args:
        grants: the operations to allow.
        prefix: prefix of all names.
        principal: who gets the grants, such as User:lanner-collector.
        bootstrap_servers: addresses for the tool.

    Source: kafka-acls.sh --help, Kafka 4.
    """
    together: dict[tuple[Resource, str, bool], list[Operation]] = {}
    for grant in grants:
        together.setdefault((grant.resource, grant.full_name(prefix), grant.is_prefix), []).append(grant.operation)
    lines = []
    for (resource, name, is_prefix), operations in together.items():
        words = ["kafka-acls.sh", "--bootstrap-server", bootstrap_servers, "--command-config", "admin.properties"]
        words += ["--add", "--allow-principal", principal]
        for operation in operations:
            words += ["--operation", "".join(part.capitalize() for part in operation.split("_"))]
        words += [f"--{resource.lower()}", name]
        words += ["--resource-pattern-type", "prefixed"] if is_prefix else []
        lines.append(shlex.join(words))
    return lines
