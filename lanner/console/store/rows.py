"""What the view answers with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lanner.console.store.marks import Mark
from lanner.console.store.record import OTHER_TEXTS


@dataclass(frozen=True, slots=True)
class AlertGroup:
    """The alerts of one rule, workload and text in a time range."""

    key: str
    rule: str
    workload: str
    text: str
    priority: int
    tags: tuple[str, ...]
    count: int
    """Alerts in the time range."""
    hosts: int
    first: int
    """Time of the first alert that the view has seen, µs since the epoch."""
    last: int
    """Time of the newest alert in the time range, µs since the epoch."""
    sample: str
    """The output of one alert."""
    is_new: bool
    """Whether the first alert came within a day before now."""
    state: str
    """open, acknowledged or muted."""
    assignee: str
    muted_until: int
    """ns since the epoch; 0 for never."""
    sparkline: tuple[int, ...] = ()
    """Alerts in each part of the time range."""

    @property
    def is_shared(self) -> bool:
        """Whether its alerts have different texts; the sample is the newest one."""
        return self.text == OTHER_TEXTS


@dataclass(frozen=True, slots=True)
class GroupPage:
    """One page of groups."""

    groups: Sequence[AlertGroup]
    total: int
    """Groups that match."""
    alerts: int
    """Alerts in them."""
    is_partial: bool = False
    """Whether only the newest alerts with the words were counted."""


@dataclass(frozen=True, slots=True)
class GroupDetail:
    """One group with the texts of its rule, its hosts and what people decided."""

    group: AlertGroup
    description: str
    response: str
    hosts: Sequence[str]
    """The hosts that were active last."""
    marks: Sequence[Mark]


@dataclass(frozen=True, slots=True)
class RuleActivity:
    """The alerts of one rule in a time range."""

    rule: str
    priority: str
    count: int
    last: int
    """Time of its newest alert that the view holds, µs since the epoch."""
    sparkline: tuple[int, ...] = ()
    """Alerts in each part of the time range."""


@dataclass(frozen=True, slots=True)
class AllRuleActivity:
    """The alerts of all rules of which the view holds any."""

    since: int
    """µs since the epoch; not before the oldest alert."""
    until: int
    rules: Mapping[str, RuleActivity]
    oldest: int
    """Time of the oldest alert that the view holds; 0 for none."""


@dataclass(frozen=True, slots=True)
class AlertLine:
    """One alert in a list."""

    id: str
    time: int
    """µs since the epoch; unique, so that it is a position in the list."""
    host: str
    user: str
    namespace: str
    output: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One part of the histogram."""

    start: int
    """µs since the epoch."""
    counts: Mapping[int, int]
    """By priority."""


@dataclass(frozen=True, slots=True)
class TimeHistogram:
    """Alerts by time and priority."""

    since: int
    """µs since the epoch."""
    until: int
    bars: Sequence[Bar]
