"""Which alerts go to a sink, and to which channel. Applied when an alert arrives and again at delivery."""

import fnmatch
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from notifier.sink import RoutedAlert, SinkStats
from schemas.alert import Alert
from schemas.catalog.priorities import SEVERITY

RouteMatching = Literal["first", "all"]

Router = Callable[[Alert], RoutedAlert | None]
"""Returns where an alert goes within one sink; None if it doesn't go there."""


@dataclass(frozen=True, slots=True)
class AlertMatcher:
    """Conditions on an alert, all of which must be true; `*` matches any text."""

    priority: str = "Debug"
    """At this priority or above."""
    rule: str = "*"
    tags: tuple[str, ...] = ()
    host: str = "*"
    namespace: str = "*"
    condition: Callable[[Alert], bool] | None = None
    """A condition in the rule language on the alert's fields."""

    def matches(self, alert: Alert, quantifier: Callable[[Iterable[bool]], bool] = any) -> bool:
        """Return whether all conditions are true of an alert.

        quantifier: whether any or all of the hosts and namespaces that a summary lists must match.
        """
        hosts = _listed(alert, "evt.hostname") or (alert.hostname,)
        namespaces = _listed(alert, "k8s.ns.name") or (str(alert.event.get("k8s.ns.name", "")),)
        return (
            SEVERITY[alert.priority] <= SEVERITY[self.priority]
            and fnmatch.fnmatchcase(alert.rule, self.rule)
            and set(self.tags) <= set(alert.tags)
            and quantifier(fnmatch.fnmatchcase(each, self.host) for each in hosts)
            and (self.namespace == "*" or quantifier(fnmatch.fnmatchcase(each, self.namespace) for each in namespaces))
            and (self.condition is None or self.condition(alert))
        )


@dataclass(frozen=True, slots=True)
class Route:
    """Sends matching alerts to a sink."""

    match: AlertMatcher
    sink: str
    channel: str | None = None
    template: Callable[[Alert], str] | None = None
    """Renders the text that replaces the rule's output."""


@dataclass(frozen=True, slots=True)
class Mute:
    """Drops matching alerts for a time; they are counted."""

    match: AlertMatcher
    until: float | None
    """Wall clock, seconds; None for permanently."""


Verdict = RoutedAlert | Literal["muted", "not_routed"]


@dataclass(frozen=True, slots=True)
class SinkRouter:
    """Selects the alerts of one sink; a call counts what it rejects."""

    sink: str
    minimum: AlertMatcher
    """The alerts that the sink accepts at all."""
    routes: Sequence[Route]
    """In order; without any, every sink gets every alert."""
    mutes: Sequence[Mute]
    """Applied before all routes."""
    matching: RouteMatching
    """Whether only the first matching route counts, or each."""
    stats: SinkStats

    def __call__(self, alert: Alert) -> RoutedAlert | None:
        """Return where an alert goes within the sink; None if it doesn't go there."""
        verdict = self.verdict(alert, time.time())
        if isinstance(verdict, RoutedAlert):
            return verdict
        if verdict == "muted":
            self.stats.muted += 1
        else:
            self.stats.not_routed += 1
        return None

    def verdict(self, alert: Alert, now: float) -> Verdict:
        """Return the routed alert, or why the sink gets none. now: wall clock, seconds."""
        if any((each.until is None or now < each.until) and each.match.matches(alert, all) for each in self.mutes):
            return "muted"
        if not self.minimum.matches(alert):
            return "not_routed"
        if not self.routes:
            return RoutedAlert(alert)
        found: dict[str | None, RoutedAlert] = {}
        for each in self.routes:
            if not each.match.matches(alert):
                continue
            if each.sink == self.sink and each.channel not in found:
                text = None if each.template is None else each.template(alert)
                found[each.channel] = RoutedAlert(alert, each.channel, text)
            if self.matching == "first":
                break
        if not found:
            return "not_routed"
        first, *more = found.values()
        return replace(first, more=tuple(more))


def _listed(alert: Alert, field: str) -> tuple[str, ...]:
    """Return the values of a field that a summary lists; none if its repeats have one value."""
    value = alert.output_fields.get(field) if alert.repeats else None
    return value if isinstance(value, tuple) else ()
