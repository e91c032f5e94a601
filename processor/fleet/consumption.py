"""Alerts about the processors' consumption: messages are evaluated late, or a client interferes with their group.

The age of a message is the time since the broker appended it, by this machine's clock. The oldest message that is not
acknowledged shows how late a partition is; while none is in work, the last one does, if it was acknowledged just now.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from foundation.quantities import seconds_text
from foundation.text import printable
from schemas.alert import Alert, Value, alert_id

BEHIND = "Lanner internal: evaluation behind"
CAUGHT_UP = "Lanner internal: evaluation caught up"
_FRESH_SECONDS = 5.0
"""How long the age of the last message is a measure of the next one's."""
_COUNTED_SECONDS = 10.0
"""The hosts with messages in a partition are counted over this time."""
_MAX_KEYS = 1_000
_NS = 1_000_000_000

STRANGER = "Lanner internal: stranger in consumer group"
OFFSETS_CHANGED = "Lanner internal: offsets changed"
_PERIOD = 300_000_000_000
"""The same is reported once in this time, ns."""
_MAX_KNOWN = 1000
_PATIENCE = 60_000_000_000
"""A processor reports its state every 5 s, ns."""


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """Messages of a partition that are not evaluated."""

    topic: str
    partition: int
    waiting: int
    age: float
    """Age of the oldest one, s."""
    busiest: bytes | None = None
    """The key of most of the messages that were evaluated last."""
    share: float = 0.0
    """Their part of all, 0 to 1."""


class PartitionPace:
    """The messages of one partition since it was assigned."""

    def __init__(self) -> None:
        self._open: OrderedDict[int, float] = OrderedDict()
        """By offset, when the broker appended messages that are in work, s since the epoch."""
        self._last: tuple[float, float] | None = None
        """When the message that was acknowledged last was appended, and when it was acknowledged."""
        self._stuck_since: float | None = None
        self._keys: Counter[bytes | None] = Counter()
        self._recent_keys: Counter[bytes | None] = Counter()
        self._counted_since = 0.0

    def take(self, offset: int, timestamp: float, key: bytes | None) -> None:
        """Record that work on a message begins. timestamp: when it was appended, s since the epoch."""
        self._open[offset] = timestamp
        if key in self._keys or len(self._keys) < _MAX_KEYS:
            self._keys[key] += 1

    def settle(self, offset: int, now: float) -> None:
        """Record that a message is acknowledged. now: monotonic s."""
        timestamp = self._open.pop(offset, None)
        if timestamp is not None:
            self._last = (timestamp, now)

    def lag(self, topic: str, partition: int, waiting: int, wall: float, now: float) -> PartitionLag:
        """Return what waits.

        Args:
            topic: the partition's.
            partition: its number.
            waiting: the number of messages that are not acknowledged.
            wall: s since the epoch.
            now: monotonic s.
        """
        if now - self._counted_since >= _COUNTED_SECONDS:
            self._recent_keys, self._keys, self._counted_since = self._keys, Counter(), now
        counted = self._recent_keys + self._keys
        busiest, number = counted.most_common(1)[0] if counted else (None, 0)
        share = number / counted.total() if number else 0.0
        return PartitionLag(topic, partition, waiting, self._age(waiting, wall, now), busiest, share)

    def _age(self, waiting: int, wall: float, now: float) -> float:
        oldest = next(iter(self._open.values()), None)
        if oldest is None and waiting and self._last is not None and now - self._last[1] < _FRESH_SECONDS:
            oldest = self._last[0]
        if oldest is not None or not waiting:
            self._stuck_since = None
            return 0.0 if oldest is None else max(0.0, wall - oldest)
        # Nothing is taken although messages wait; how old they are isn't known.
        if self._stuck_since is None:
            self._stuck_since = now
        return now - self._stuck_since


@dataclass(slots=True)
class _Period:
    """A time in which a topic is evaluated late."""

    began: int
    """ns since the epoch."""
    worst: float
    """s."""


class Lateness:
    """Which topics are evaluated late, as reported by alerts."""

    def __init__(self, behind_seconds: float, worker: str, name_of: Callable[[str, bytes], str]) -> None:
        """Begin.

        Args:
            behind_seconds: the age from which messages are late.
            worker: the name of this processor.
            name_of: describes whose messages have a key of a topic.
        """
        self._behind_seconds = behind_seconds
        self.worker = worker
        self._name_of = name_of
        self._periods: dict[str, _Period] = {}
        self.lags: Sequence[PartitionLag] = ()
        """As of the last look."""

    @property
    def reasons(self) -> list[str]:
        """The late partitions, as texts."""
        late = (each for each in self.lags if each.topic in self._periods)
        worst = {each.topic: each for each in sorted(late, key=lambda lag: lag.age)}
        return [self._text(each) for each in worst.values()]

    def look(self, lags: Iterable[PartitionLag], wall: int) -> list[Alert]:
        """Return the alerts about what has become late or is no longer. wall: ns since the epoch."""
        self.lags = tuple(lags)
        by_topic: dict[str, list[PartitionLag]] = {topic: [] for topic in self._periods}
        for lag in self.lags:
            by_topic.setdefault(lag.topic, []).append(lag)
        found = []
        for topic, of_topic in by_topic.items():
            worst = max(of_topic, key=lambda lag: lag.age, default=PartitionLag(topic, 0, 0, 0.0))
            period = self._periods.get(topic)
            if period is None:
                if worst.age > self._behind_seconds:
                    self._periods[topic] = _Period(wall, worst.age)
                    found.append(self._alert(BEHIND, worst, wall, wall, self._text(worst)))
                continue
            period.worst = max(period.worst, worst.age)
            # Not at the limit itself, which may be crossed many times.
            if worst.age < self._behind_seconds / 2:
                del self._periods[topic]
                lasted, most = seconds_text((wall - period.began) / _NS), seconds_text(period.worst)
                text = f"topic {topic} is evaluated in time again after {lasted}; its events were up to {most} late"
                found.append(self._alert(CAUGHT_UP, worst, period.began, wall, text))
        return found

    def _text(self, lag: PartitionLag) -> str:
        text = (
            f"topic {lag.topic} is evaluated {seconds_text(lag.age)} late: {lag.waiting:,} messages of partition "
            f"{lag.partition} wait"
        )
        if lag.busiest is None:
            return text
        return f"{text}, and {lag.share:.0%} of those evaluated last are of {self._name_of(lag.topic, lag.busiest)}"

    def _alert(self, kind: str, lag: PartitionLag, began: int, now: int, text: str) -> Alert:
        facts: Mapping[str, int | str] = {
            "kafka.topic": lag.topic,
            "kafka.partition": lag.partition,
            "kafka.waiting": lag.waiting,
            "behind_seconds": round(lag.age),
        }
        return Alert(
            id=alert_id(began, kind, lag.topic, self.worker),
            time=now,
            rule=kind,
            priority="Warning" if kind == BEHIND else "Notice",
            output=text,
            output_fields=facts,
            source="internal",
            hostname=self.worker,
        )


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
