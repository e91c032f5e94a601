"""Routers: which alerts go to which sink, by the routes, mutes and minimum priorities of the settings."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from foundation.sqlite import DatabaseUnusable
from foundation.text import OnNote
from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.sections.model import KINDS, kind_of, section_of
from lanner.settings.sections.sinks import AlertMatch
from lanner.wiring.alert_fields import (
    Fill,
    Predicate,
    compile_conditions,
    compile_templates,
    conditions_of,
    guarded,
    or_own_text,
)
from lanner.wiring.sinks.lines import alert_lines
from lanner.wiring.sinks.registry import SINKS, open_direct, open_sink, worker_of
from notifier.outbox import Outbox
from notifier.outputs import AlertDelivery, DirectDelivery, OutboxDelivery
from notifier.routing import AlertMatcher, Mute, Route, SinkRouter
from notifier.sink import Sink, SinkStats
from notifier.sinks.lines import StdoutSink, is_journal
from schemas.catalog.priorities import BY_NAME

JOURNAL_SOCKET = "/run/systemd/journal/dev-log"


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Routes, mutes and minimum priorities; conditions and templates are compiled once for all sinks."""

    settings: Settings
    conditions: Mapping[str, Predicate]
    """By the name of their setting."""
    templates: Mapping[int, Fill]
    """By the index of their route."""
    report: OnNote
    """Called once for each condition or template that raises an exception."""

    def router(self, sink: str, stats: SinkStats) -> SinkRouter:
        """Return the router of a sink, which counts in stats what it rejects."""
        settings = self.settings
        # When a condition fails, people get the alert: the route accepts it, the mute doesn't.
        routes = [
            Route(
                self._matcher(each.match, f"routes[{index}]", stats, on_fault=True),
                each.sink,
                each.channel,
                self._template(index, stats),
            )
            for index, each in enumerate(settings.routes)
        ]
        mutes = [
            Mute(self._matcher(each.match, f"mute[{index}]", stats, on_fault=False), _until(each.until))
            for index, each in enumerate(settings.mute)
        ]
        least = getattr(section_of(settings, sink), "minimum_priority", "debug")
        minimum = AlertMatcher(priority=str(BY_NAME[least]))
        return SinkRouter(sink, minimum, routes, mutes, settings.route_matching, stats)

    def _matcher(self, match: AlertMatch, name: str, stats: SinkStats, *, on_fault: bool) -> AlertMatcher:
        found = self.conditions.get(f"{name}.match")
        condition = None if found is None else guarded(found, name, stats, self.report, on_fault=on_fault)
        priority = str(BY_NAME[match.priority])
        return AlertMatcher(priority, match.rule, match.tags, match.host, match.namespace, condition)

    def _template(self, index: int, stats: SinkStats) -> Fill | None:
        found = self.templates.get(index)
        return None if found is None else or_own_text(found, f"routes[{index}]", stats, self.report)


def routing_table(settings: Settings, report: OnNote) -> RoutingTable:
    """Check routes, mutes, conditions and templates, and compile them. Raises BadSettings with all errors.

    report is called once for each condition or template that raises an exception.
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
    return RoutingTable(settings, predicates, templates, report)


def _until(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()


def enabled_sinks(settings: Settings) -> tuple[str, ...]:
    """Return the names of the sinks that the settings enable, in the order in which they are opened."""
    named = [name for name in (*KINDS, *settings.sinks) if (section := section_of(settings, name)) and section.enabled]
    is_twice = is_journal(1, os.environ) and _syslog_is_journal(settings)
    return ("stdout", *named) if settings.stdout_output.enabled and not is_twice else tuple(named)


def open_sinks(
    settings: Settings, names: Iterable[str], *, note: OnNote, before_line: Callable[[], None]
) -> list[AlertDelivery]:
    """Open the named sinks, and no others. Raises BadInput if the settings of a sink are wrong.

    note is called with problems that occur while the sinks run, before_line before each line on standard output.
    """
    table = routing_table(settings, note)
    deliveries: list[AlertDelivery] = []
    for name in names:
        stats = SinkStats()
        router = table.router(name, stats)
        sink = _stdout(settings, before_line) if name == "stdout" else open_direct(settings, name, note)
        if sink is not None:
            deliveries.append(DirectDelivery(name, sink, router, stats, note))
        else:
            # Undelivered alerts wait on disk.
            opened = open_sink(settings, name)
            outbox = open_outbox(settings, name)
            worker = worker_of(name, outbox, opened, router, stats=stats, report=note)
            deliveries.append(OutboxDelivery(name, outbox, worker, note))
    return deliveries


def _stdout(settings: Settings, before_line: Callable[[], None]) -> Sink:
    levels = is_journal(1, os.environ)
    line = alert_lines(settings, sys.stdout)
    return StdoutSink(sys.stdout, line, levels=levels, before=before_line, ends_program=True)


def open_outbox(settings: Settings, name: str) -> Outbox:
    """Open the outbox of a sink. Raises BadInput."""
    path = Path(settings.notifier.state_dir) / f"{name}.outbox.db"
    try:
        return Outbox(path, capacity=settings.notifier.outbox_alerts)
    except DatabaseUnusable as error:
        raise BadInput(f"notifier.state_dir: {error}.") from None


def _syslog_is_journal(settings: Settings) -> bool:
    """Return whether syslog also leads to the journal, as wherever systemd listens on /dev/log."""
    return settings.syslog_output.enabled and os.path.realpath(settings.syslog_output.socket) == JOURNAL_SOCKET
