"""Routers: which alerts go to which sink, by the routes, mutes and minimum priorities of the settings."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime

from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.named import kind_of, section_of
from lanner.settings.sections.delivery import AlertMatch
from lanner.wiring.routes.conditions import Predicate, compile_conditions, conditions_of, guarded
from lanner.wiring.routes.templates import Fill, compile_templates, or_own_text
from lanner.wiring.sinks.registry import SINKS
from notifier.delivery.outcome import RoutedAlert
from notifier.delivery.routing import AlertMatcher, Mute, Route, Router, route
from notifier.delivery.stats import SinkStats
from schemas.alert import Alert
from schemas.catalogue.priorities import BY_NAME
from schemas.text.notes import OnNote

RouterFactory = Callable[[str, SinkStats], Router]
"""Returns the router of a sink by its name; it counts in the statistics what it rejects."""


def routers_of(settings: Settings, report: OnNote) -> RouterFactory:
    """Return a factory for per-sink routers; conditions are compiled once.

    Args:
        settings: routes, mutes, minimum priorities, and the rules whose macros conditions use.
        report: called once for each condition or template that raises an exception.

    Raises:
        BadSettings: routes, conditions or templates are wrong.
    """
    faults: list[SettingFault] = []
    for index, section in enumerate(settings.routes):
        kind = SINKS[kind_of(settings, section.sink)]
        if section.template is not None and not kind.has_text:
            name = f"routes[{index}].template"
            text = f"{name}: {section.sink} sends documents, which have no text to replace."
            faults.append(SettingFault(name, text, follows=True))
        if section.channel is not None and not kind.has_channels:
            name = f"routes[{index}].channel"
            faults.append(SettingFault(name, f"{name}: {section.sink} has no channels; only slack has.", follows=True))
    predicates: Mapping[str, Predicate] = {}
    templates: Mapping[int, Fill] = {}
    try:
        templates = compile_templates(settings)
    except BadSettings as error:
        faults += error.faults
    try:
        predicates = compile_conditions(settings, conditions_of(settings))
    except BadSettings as error:
        faults += error.faults
    if faults:
        raise BadSettings(*faults)
    return lambda sink, stats: _router(settings, predicates, templates, sink=sink, stats=stats, report=report)


def _router(
    settings: Settings,
    predicates: Mapping[str, Predicate],
    templates: Mapping[int, Fill],
    *,
    sink: str,
    stats: SinkStats,
    report: OnNote,
) -> Router:
    def match(alert_match: AlertMatch, name: str, *, on_fault: bool) -> AlertMatcher:
        found = predicates.get(f"{name}.match")
        condition = None if found is None else guarded(found, name, stats, report, on_fault=on_fault)
        return AlertMatcher(
            str(BY_NAME[alert_match.priority]),
            alert_match.rule,
            alert_match.tags,
            alert_match.host,
            alert_match.namespace,
            condition=condition,
        )

    def template(index: int) -> Fill | None:
        found = templates.get(index)
        return None if found is None else or_own_text(found, f"routes[{index}]", stats, report)

    # When a condition fails, people get the alert: the route accepts it, the mute doesn't.
    routes = [
        Route(match(each.match, f"routes[{index}]", on_fault=True), each.sink, each.channel, template(index))
        for index, each in enumerate(settings.routes)
    ]
    mutes = [
        Mute(match(each.match, f"mute[{index}]", on_fault=False), _until(each.until))
        for index, each in enumerate(settings.mute)
    ]
    least = getattr(section_of(settings, sink), "minimum_priority", "debug")
    minimum = AlertMatcher(priority=str(BY_NAME[least]))

    def router(alert: Alert) -> RoutedAlert | None:
        verdict = route(alert, sink, minimum, routes, mutes, matching=settings.route_matching, now=time.time())
        if isinstance(verdict, RoutedAlert):
            return verdict
        if verdict == "muted":
            stats.muted += 1
        else:
            stats.not_routed += 1
        return None

    return router


def _until(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
