"""Routers: which alerts go to which sink, by the routes, mutes and minimum priorities of the settings."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path

from foundation.sqlite import DatabaseUnusable
from foundation.text import OnNote
from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.sections.model import KINDS, kind_of, section_of
from lanner.settings.sections.sinks import AlertMatch
from lanner.wiring.routing.conditions import Predicate, compile_conditions, conditions_of, guarded
from lanner.wiring.routing.templates import Fill, compile_templates, or_own_text
from lanner.wiring.sinks.lines import alert_lines
from lanner.wiring.sinks.registry import SINKS, open_direct, open_sink, worker_of
from notifier.delivery.outbox import Outbox
from notifier.delivery.outputs import AlertDelivery, DirectDelivery, OutboxDelivery
from notifier.delivery.routing import AlertMatcher, Mute, Route, Router, route
from notifier.sink import RoutedAlert, Sink, SinkStats
from notifier.sinks.lines import StdoutSink, is_journal
from schemas.alert import Alert
from schemas.catalog.priorities import BY_NAME

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


JOURNAL_SOCKET = "/run/systemd/journal/dev-log"


def enabled_sinks(settings: Settings) -> tuple[str, ...]:
    """Return the names of the sinks that the settings enable, in the order in which they are opened."""
    named = [name for name in (*KINDS, *settings.sinks) if (section := section_of(settings, name)) and section.enabled]
    is_twice = is_journal(1, os.environ) and _syslog_is_journal(settings)
    return ("stdout", *named) if settings.stdout_output.enabled and not is_twice else tuple(named)


def open_sinks(
    settings: Settings, names: Iterable[str], *, note: OnNote, before_line: Callable[[], None]
) -> list[AlertDelivery]:
    """Open the named sinks, and no others.

    Args:
        settings: all settings.
        names: of the sinks; `enabled_sinks` for those that the settings enable.
        note: called with problems that occur while the sinks run.
        before_line: called before each line on standard output.

    Raises:
        BadInput: the settings of a sink are wrong.
    """
    routers = routers_of(settings, note)
    deliveries: list[AlertDelivery] = []
    for name in names:
        sink = _stdout(settings, before_line) if name == "stdout" else open_direct(settings, name, note)
        if sink is None:
            deliveries.append(_with_outbox(settings, name, routers, note))
        else:
            stats = SinkStats()
            deliveries.append(DirectDelivery(name, sink, routers(name, stats), stats, note))
    return deliveries


def _stdout(settings: Settings, before_line: Callable[[], None]) -> Sink:
    levels = is_journal(1, os.environ)
    line = alert_lines(settings, sys.stdout)
    return StdoutSink(sys.stdout, line, levels=levels, before=before_line, ends_program=True)


def _with_outbox(settings: Settings, name: str, routers: RouterFactory, note: OnNote) -> OutboxDelivery:
    """Open a sink whose undelivered alerts wait on disk. Raises BadInput."""
    path = Path(settings.notifier.state_dir) / f"{name}.outbox.db"
    stats = SinkStats()
    router = routers(name, stats)
    sink = open_sink(settings, name)
    try:
        outbox = Outbox(path, capacity=settings.notifier.outbox_alerts)
    except DatabaseUnusable as error:
        raise BadInput(f"notifier.state_dir: {error}.") from None
    return OutboxDelivery(name, outbox, worker_of(name, outbox, sink, router, stats=stats, report=note), note)


def _syslog_is_journal(settings: Settings) -> bool:
    """Return whether syslog also leads to the journal, as wherever systemd listens on /dev/log."""
    return settings.syslog_output.enabled and os.path.realpath(settings.syslog_output.socket) == JOURNAL_SOCKET
