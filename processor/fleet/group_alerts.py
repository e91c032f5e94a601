"""Alerts about the processors' consumer group: what a client did to it that is no processor."""

from collections.abc import Iterable
from dataclasses import dataclass

from foundation.text import printable
from schemas.alert import Alert, Value, alert_id

STRANGER = "Lanner internal: stranger in consumer group"
OFFSETS_CHANGED = "Lanner internal: offsets changed"
_PERIOD = 300_000_000_000
"""The same is reported once in this time, ns."""
_MAX_KNOWN = 1000
_PATIENCE = 60_000_000_000
"""A processor reports its state every 5 s, ns."""


@dataclass(frozen=True, slots=True)
class StrangerFound:
    """A member of the group that is no processor, or what it did."""

    text: str


@dataclass(frozen=True, slots=True)
class OffsetsChanged:
    """Somebody else than a processor committed an offset of the group."""

    topic: str
    partition: int
    evaluated: int | None
    """Up to which offset this processor evaluated the partition; None if another one had it."""
    committed: int
    by: str
    """The commit's statement of its origin."""

    @property
    def text(self) -> str:
        """A sentence for people."""
        which = f"the offset of partition {self.partition} of topic {self.topic}"
        who = f"by a client that is no processor ({printable(self.by)[:100] or 'without a name'})"
        if self.evaluated is None:
            return f"{which} was set to {self.committed} {who}: messages before that may not have been evaluated"
        if self.committed == self.evaluated:
            return f"{which} was set to {self.committed} {who}: messages up to there were evaluated"
        if self.committed > self.evaluated:
            return (
                f"{which} was moved from {self.evaluated} to {self.committed} {who}, which would leave "
                f"{self.committed - self.evaluated} messages unevaluated: they are evaluated all the same"
            )
        return f"{which} was moved back from {self.evaluated} to {self.committed} {who}: it is set right"


GroupFinding = StrangerFound | OffsetsChanged


class GroupAlerts:
    """Which findings were reported."""

    def __init__(self, group: str, worker: str) -> None:
        """Begin. group: full name; worker: the name of this processor."""
        self._group = group
        self._worker = worker
        self._reported: dict[str, int] = {}
        self._unknown: dict[str, int] = {}
        """By name, since when a member that no processor reports to be is in the group, ns."""

    def of(self, findings: Iterable[GroupFinding], now: int) -> list[Alert]:
        """Return the alerts about findings that were not reported lately. now: ns since the epoch."""
        self._reported = {text: at for text, at in self._reported.items() if now - at < _PERIOD}
        found = []
        for each in findings:
            if each.text not in self._reported and len(self._reported) < _MAX_KNOWN:
                self._reported[each.text] = now
                found.append(self._alert(each, now))
        return found

    def unknown(self, members: Iterable[str], processors: Iterable[str], now: int) -> list[StrangerFound]:
        """Return the members that have been in the group for a while, and that no processor reports to be.

        Args:
            members: names, as they joined with them.
            processors: names of live processors, by their reports.
            now: ns since the epoch.
        """
        missing = set(members) - set(processors)
        self._unknown = {name: self._unknown.get(name, now) for name in sorted(missing)[:_MAX_KNOWN]}
        return [
            StrangerFound(
                f"member {printable(name)} is given partitions, and no processor of that name reports its state"
            )
            for name, since in self._unknown.items()
            if now - since > _PATIENCE
        ]

    def _alert(self, finding: GroupFinding, now: int) -> Alert:
        facts: dict[str, Value] = {"kafka.group": self._group}
        kind = STRANGER
        if isinstance(finding, OffsetsChanged):
            kind = OFFSETS_CHANGED
            facts |= {"kafka.topic": finding.topic, "kafka.partition": finding.partition}
            facts |= {"kafka.offset.evaluated": finding.evaluated, "kafka.offset.committed": finding.committed}
        return Alert(
            id=alert_id(now, kind, self._group, self._worker, finding.text),
            time=now,
            rule=kind,
            priority="Critical",
            output=f"consumer group {self._group}: {finding.text}",
            output_fields=facts,
            source="internal",
            hostname=self._worker,
        )
