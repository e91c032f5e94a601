"""Whether an alert is for a sink, and where within it: pure, asked at taking and again at delivery."""

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from notifier.delivery.outcome import RoutedAlert
from notifier.formats.severity import SEVERITY
from schemas.alert import Alert

RouteMatching = Literal["first", "all"]


@dataclass(frozen=True, slots=True)
class AlertMatcher:
    """Which alerts are meant; all that is given must hold, and `*` stands for any text."""

    priority: str = "Debug"
    """This grave or graver."""
    rule: str = "*"
    tags: tuple[str, ...] = ()
    host: str = "*"
    namespace: str = "*"
    condition: Callable[[Alert], bool] | None = None
    """What the rule language says of the alert's fields."""

    def holds(self, alert: Alert) -> bool:
        """Tell whether an alert is meant."""
        return (
            SEVERITY[alert.priority] <= SEVERITY[self.priority]
            and fnmatch.fnmatchcase(alert.rule, self.rule)
            and set(self.tags) <= set(alert.tags)
            and fnmatch.fnmatchcase(alert.hostname, self.host)
            and (self.namespace == "*" or fnmatch.fnmatchcase(_namespace(alert), self.namespace))
            and (self.condition is None or self.condition(alert))
        )


@dataclass(frozen=True, slots=True)
class Route:
    """Where alerts of a kind go."""

    match: AlertMatcher
    sink: str
    channel: str | None = None
    template: Callable[[Alert], str] | None = None
    """Gives the text to use instead of the rule's output."""


@dataclass(frozen=True, slots=True)
class Mute:
    """Alerts that nobody is told of for a while."""

    match: AlertMatcher
    until: float | None
    """Wall clock, seconds; None for good."""


Verdict = RoutedAlert | Literal["muted", "elsewhere"]


def route(
    alert: Alert,
    sink: str,
    minimum: AlertMatcher,
    routes: Sequence[Route],
    mutes: Sequence[Mute],
    *,
    matching: RouteMatching,
    now: float,
) -> Verdict:
    """Give the parcel for a sink, or why there is none.

    Args:
        alert: what is to be told.
        sink: who asks.
        minimum: what the sink takes at all.
        routes: in order; without any, every sink takes everything.
        mutes: these come before all routes.
        matching: whether the first route that fits decides, or each does.
        now: wall clock, seconds.
    """
    if any((each.until is None or now < each.until) and each.match.holds(alert) for each in mutes):
        return "muted"
    if not minimum.holds(alert):
        return "elsewhere"
    if not routes:
        return RoutedAlert(alert)
    found: dict[str | None, RoutedAlert] = {}
    for each in routes:
        if not each.match.holds(alert):
            continue
        if each.sink == sink and each.channel not in found:
            found[each.channel] = RoutedAlert(
                alert, each.channel, None if each.template is None else each.template(alert)
            )
        if matching == "first":
            break
    if not found:
        return "elsewhere"
    first, *more = found.values()
    return replace(first, more=tuple(more))


def _namespace(alert: Alert) -> str:
    return str(alert.event.get("k8s.ns.name", ""))
