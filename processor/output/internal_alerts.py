"""Alerts about Lanner itself. Their ids derive from their cause, so that the same alert made twice has one id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.alert import Alert, Value, alert_id

EVENTS_LOST = "Lanner internal: events lost"
FACTS_MISSING = "Lanner internal: facts missing"
RULES_CHANGED = "Lanner internal: rules changed"
RULE_FAILED = "Lanner internal: rule failed"
EVENT_TRUNCATED = "Lanner internal: event truncated"
EVENT_REFUSED = "Lanner internal: event refused"
OVER_BUDGET = "Lanner internal: batch over budget"
CORRELATION_LIMITED = "Lanner internal: correlation limited"
DUPLICATE_HOST_ID = "Lanner internal: duplicate host id"
TOO_MANY_HOSTS = "Lanner internal: too many hosts"
INDICATORS_SEARCHED = "Lanner internal: indicators searched"
REPLAYED = "Lanner internal: batches replayed"
GROUPS_EVICTED = "correlation_group"
"""A reason of losses: windows and counts of repeats that were evicted."""
VALUES_UNSTORED = "Lanner internal: too many values"
MEMORY_LOST = "correlation_memory"
"""A reason of losses: the topic that stores window state was replaced. It counts partitions."""


@dataclass(frozen=True, slots=True)
class Cause:
    """The batch at which something was noticed."""

    host_id: str
    hostname: str
    time: int
    """Wall clock of the host, ns."""
    batch: tuple[str, int, int]
    """Boot, collector's start, sequence."""


def internal_alert(kind: str, cause: Cause, output: str, numbers: Mapping[str, int], priority: str) -> Alert:
    """Return an alert about Lanner itself; the same cause always gives the same id."""
    return Alert(
        id=alert_id(cause.time, kind, cause.host_id, *cause.batch),
        time=cause.time,
        rule=kind,
        priority=priority,
        output=output,
        output_fields={**numbers, "evt.hostname": cause.hostname},
        source="internal",
        hostname=cause.hostname,
        host_id=cause.host_id,
    )


def memory_lost(topic: str, positions: Mapping[int, int], now: int, about: str) -> Alert:
    """Return the alert that the state in a topic is lost.

    Args:
        topic: full name.
        positions: by partition, the offset up to which messages had been applied.
        now: wall clock, ns.
        about: what the state consists of, for people.
    """
    partitions = ", ".join(str(partition) for partition in sorted(positions))
    return Alert(
        id=alert_id(now, EVENTS_LOST, topic, str(sorted(positions.items()))),
        time=now,
        rule=EVENTS_LOST,
        priority="Critical",
        output=(
            f"topic {topic} was deleted: the {about} of partitions {partitions} are lost, and start empty"
            f" | {MEMORY_LOST}: {len(positions)}"
        ),
        output_fields={MEMORY_LOST: len(positions)},
        source="internal",
    )


def rules_changed(
    identity: Sequence[str],
    time: int,
    active: str,
    changes: Sequence[str],
    fields: Mapping[str, Value],
    *,
    hostname: str,
) -> Alert:
    """Return the alert about a change of the active rules.

    Args:
        identity: with the time, makes the alert's id.
        time: of the change, ns since the epoch.
        active: describes the rules that are active now.
        changes: what changed, one text per rule.
        fields: further output fields.
        hostname: where the rules were changed.
    """
    return Alert(
        id=alert_id(time, RULES_CHANGED, *identity),
        time=time,
        rule=RULES_CHANGED,
        priority="Notice",
        output=f"{active} | {'; '.join(changes) or 'no rule changed'}",
        output_fields={**fields, "rules.changes": tuple(changes)},
        source="internal",
        hostname=hostname,
    )


def indicators_searched(identity: Sequence[str], time: int, output: str, fields: Mapping[str, Value]) -> Alert:
    """Return the alert about a search of stored events for new entries of lists of indicators.

    Args:
        identity: with the time, makes the alert's id.
        time: until when events were searched, ns since the epoch.
        output: what was searched, what was found, and what was not collected.
        fields: the same as fields.
    """
    return Alert(
        id=alert_id(time, INDICATORS_SEARCHED, *identity),
        time=time,
        rule=INDICATORS_SEARCHED,
        priority="Informational",
        output=output,
        output_fields=fields,
        source="internal",
    )
