"""Alerts about Lanner itself. Their ids are made of the batch that made them, so one made twice has one id."""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.alert import Alert, alert_id

EVENTS_LOST = "Lanner internal: events lost"
RULES_CHANGED = "Lanner internal: rules changed"
RULE_FAILED = "Lanner internal: rule failed"
OVER_BUDGET = "Lanner internal: batch over budget"
DUPLICATE_HOST_ID = "Lanner internal: duplicate host id"
TOO_MANY_HOSTS = "Lanner internal: too many hosts"
GROUPS_EVICTED = "correlation_group"
"""A reason of losses: windows and counts of repeats that had to make room for others."""
MEMORY_LOST = "correlation_memory"
"""A reason of losses: the topic that keeps the state of rules with memory is another one. It counts partitions."""


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
    """Make one alert about Lanner itself; the same cause always gives the same id."""
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


def memory_lost(topic: str, positions: Mapping[int, int], now: int) -> Alert:
    """Make the alert of rules' memory that is gone.

    Args:
        topic: the one that kept it, by its full name.
        positions: by partition, how far events had been applied to it.
        now: wall clock, ns.
    """
    told = ", ".join(str(partition) for partition in sorted(positions))
    return Alert(
        id=alert_id(now, EVENTS_LOST, topic, str(sorted(positions.items()))),
        time=now,
        rule=EVENTS_LOST,
        priority="Critical",
        output=(
            f"topic {topic} was deleted: what rules with memory had counted in partitions {told} is gone; windows "
            f"begin anew, and repeats counted there are not summed | {MEMORY_LOST}: {len(positions)}"
        ),
        output_fields={MEMORY_LOST: len(positions)},
        source="internal",
    )
