"""Alerts about Lanner itself: at once, then at most one a host and kind in five minutes, with the sum.

Pure: the clock is given. Their ids are made of the batch that made them, so one made twice has one id.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.alert import Alert, alert_id

EVENTS_LOST = "Lanner internal: events lost"
RULES_CHANGED = "Lanner internal: rules changed"
RULE_FAILED = "Lanner internal: rule failed"
OVER_BUDGET = "Lanner internal: batch over budget"
DUPLICATE_HOST_ID = "Lanner internal: duplicate host id"
MEMORY_LOST = "correlation_memory"
"""A reason of losses: the topic that keeps the state of rules with memory is another one. It counts partitions."""
QUIET_SECONDS = 300.0
_FORGET_SECONDS = 2 * QUIET_SECONDS


@dataclass(frozen=True, slots=True)
class Cause:
    """The batch at which something was noticed."""

    host_id: str
    hostname: str
    time: int
    """Wall clock of the host, ns."""
    batch: tuple[str, int, int]
    """Boot, collector's start, sequence."""


@dataclass(slots=True)
class _Told:
    cause: Cause
    priority: str
    next_at: float
    numbers: Counter[str] = field(default_factory=Counter)
    text: str = ""


class InternalAlerts:
    """Collects what is to be told, and tells it seldom; nothing that is counted is left out in the end."""

    def __init__(self, quiet_seconds: float = QUIET_SECONDS) -> None:
        self._quiet = quiet_seconds
        self._told: dict[tuple[str, str], _Told] = {}

    def add(self, kind: str, cause: Cause, numbers: Mapping[str, int], text: str = "", *, priority: str) -> None:
        """Take note of something; due will tell it.

        Args:
            kind: the alert's rule name.
            cause: the batch.
            numbers: what is summed, by name.
            text: the newest of it is shown.
            priority: as Falco prints it.
        """
        entry = self._told.get((kind, cause.host_id))
        if entry is None:
            entry = self._told[kind, cause.host_id] = _Told(cause, priority, float("-inf"))
        entry.cause = cause
        entry.numbers.update(numbers)
        entry.text = text or entry.text

    def due(self, now: float, *, final: bool = False) -> list[Alert]:
        """Give the alerts whose time has come.

        Args:
            now: a clock that only grows, seconds.
            final: whether all that is left is to be told, however early.
        """
        found = []
        for key, entry in list(self._told.items()):
            if entry.numbers and (final or now >= entry.next_at):
                found.append(_alert(key[0], entry))
                entry.numbers = Counter()
                entry.next_at = now + self._quiet
            elif now >= entry.next_at + _FORGET_SECONDS:
                del self._told[key]
        return found


def _alert(kind: str, entry: _Told) -> Alert:
    cause, numbers = entry.cause, dict(sorted(entry.numbers.items()))
    counted = ", ".join(f"{name}: {number}" for name, number in numbers.items())
    told = f"{entry.text} | {counted}" if entry.text else f"{sum(numbers.values())} events were lost | {counted}"
    return internal_alert(kind, cause, told, numbers, entry.priority)


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
