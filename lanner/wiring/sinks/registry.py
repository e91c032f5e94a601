"""The registry of sinks: opens and previews a sink by its name."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import lanner
from bus.connection import Connection
from foundation.text import OnNote, ignore_note
from foundation.throttling import Backoff
from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.sections.model import in_its_words, kind_of, secrets_of, section_of, sinks_of
from lanner.wiring.sinks.kinds import Opener, SinkContext, SinkKind
from lanner.wiring.sinks.lines import (
    prepare_file,
    prepare_local_syslog,
    prepare_stdout,
    prepare_syslog,
    preview_file,
    preview_syslog,
)
from notifier.routing import Router
from notifier.sink import RoutedAlert, Sink, SinkStats
from notifier.worker import AlertQueue, RetryPolicy, Worker
from schemas.alert import Alert

Document = Callable[[Alert], dict[str, Any]]
ServiceFunctions = tuple[Callable[[SinkContext], Opener], Callable[[SinkContext, RoutedAlert], str]]


def siem_kind(document: Callable[[Settings], Document]) -> SinkKind:
    """Return the kind of a SIEM topic; document imports and returns its mapping."""

    def prepare(context: SinkContext) -> Opener:
        def open_topic() -> Sink:
            from notifier.sinks.siem import SiemSink

            assert context.connection is not None  # noqa: S101  commands refuse SIEM topics without a broker
            return SiemSink(context.connection, context.name, document(context.settings))

        return open_topic

    def preview(context: SinkContext, routed: RoutedAlert) -> str:
        return json.dumps(document(context.settings)(routed.alert), indent=2, default=str)

    return SinkKind(prepare, preview, has_text=False)


def falco(_: Settings) -> Document:
    """Return the mapping to Falco's JSON."""
    from notifier.formats.falco import document

    return document


def ecs(settings: Settings) -> Document:
    """Return the mapping to the Elastic Common Schema."""
    from notifier.formats import ecs

    return partial(ecs.document, console=settings.console.public_url or "")


def ocsf(settings: Settings) -> Document:
    """Return the mapping to the Open Cybersecurity Schema Framework."""
    from notifier.formats import ocsf

    return partial(ocsf.document, version=lanner.__version__, console=settings.console.public_url or "")


def cim(_: Settings) -> Document:
    """Return the mapping to Splunk's Common Information Model."""
    from notifier.formats import cim

    return cim.document


def service_kind(functions: Callable[[], ServiceFunctions], *, has_channels: bool = False) -> SinkKind:
    """Return the kind of a sink at a service; functions imports and returns its preparation and its preview."""

    def prepare(context: SinkContext) -> Opener:
        return functions()[0](context)

    def preview(context: SinkContext, routed: RoutedAlert) -> str:
        return functions()[1](context, routed)

    return SinkKind(prepare, preview, has_channels=has_channels)


def slack() -> ServiceFunctions:
    """Return the functions of Slack."""
    from lanner.wiring.sinks.remote import prepare_slack, preview_slack

    return prepare_slack, preview_slack


def webhook() -> ServiceFunctions:
    """Return the functions of the webhook."""
    from lanner.wiring.sinks.remote import prepare_webhook, preview_webhook

    return prepare_webhook, preview_webhook


def apprise() -> ServiceFunctions:
    """Return the functions of Apprise."""
    from lanner.wiring.sinks.remote import prepare_apprise, preview_apprise

    return prepare_apprise, preview_apprise


SINKS: dict[str, SinkKind] = {
    "stdout": SinkKind(prepare_stdout, prepare_direct=prepare_stdout),
    "file": SinkKind(prepare_file, preview_file, prepare_direct=prepare_file),
    "syslog": SinkKind(prepare_syslog, preview_syslog, prepare_direct=prepare_local_syslog),
    "slack": service_kind(slack, has_channels=True),
    "webhook": service_kind(webhook),
    "apprise": service_kind(apprise),
    "siem.falco": siem_kind(falco),
    "siem.ecs": siem_kind(ecs),
    "siem.ocsf": siem_kind(ocsf),
    "siem.cim": siem_kind(cim),
}
"""Every kind of sink. A new sink is one line here, its section of the settings, and its module."""


def open_sink(
    settings: Settings,
    sink: str,
    *,
    connection: Connection | None = None,
    environment: Mapping[str, str] = os.environ,
    report: OnNote = ignore_note,
) -> Sink:
    """Open a sink that a queue feeds. Raises BadInput, and BusUnavailable for SIEM topics."""
    kind, context = _resolve(settings, sink, environment=environment, connection=connection, report=report)
    with _messages_of(settings, sink):
        return kind.prepare(context)()


def open_direct(settings: Settings, sink: str, report: OnNote) -> Sink | None:
    """Open a sink that `lanner run` feeds without an outbox; None if it needs one. Raises BadInput."""
    kind, context = _resolve(settings, sink, report=report)
    with _messages_of(settings, sink):
        opener = kind.prepare_direct(context)
        return None if opener is None else opener()


def check_sink(settings: Settings, sink: str, *, direct: bool) -> bool:
    """Check all settings of a sink, as opening it does, without opening it; return whether a queue feeds it.

    direct: whether to feed it without a queue if it needs none. Raises BadInput with all errors.
    """
    kind, context = _resolve(settings, sink)
    with _messages_of(settings, sink):
        if direct and kind.prepare_direct(context) is not None:
            return False
        kind.prepare(context)
    return True


def preview_routed(settings: Settings, sink: str, routed: RoutedAlert) -> str:
    """Return the message, body or line that a sink makes of an alert. Raises BadInput."""
    kind, context = _resolve(settings, sink)
    with _messages_of(settings, sink):
        return kind.preview(context, routed)


def worker_of(
    sink: str, queue: AlertQueue, opened: Sink, router: Router, *, stats: SinkStats, report: OnNote
) -> Worker:
    """Return a worker with the standard retry policy."""
    import random

    return Worker(sink, queue, opened, RetryPolicy(Backoff(), random.random), router, stats=stats, report=report)


def _resolve(
    settings: Settings,
    sink: str,
    *,
    environment: Mapping[str, str] = os.environ,
    connection: Connection | None = None,
    report: OnNote = ignore_note,
) -> tuple[SinkKind, SinkContext]:
    if sink not in sinks_of(settings):
        raise BadInput(f"sinks.{sink} is no longer in the settings; restart without it.")
    secrets = secrets_of(settings, sink, environment)
    context = SinkContext(sink, section_of(settings, sink), settings, secrets, connection, report)
    return SINKS[kind_of(settings, sink)], context


@contextmanager
def _messages_of(settings: Settings, sink: str) -> Iterator[None]:
    """Raise each BadSettings again with the names that the settings have for this sink."""
    try:
        yield
    except BadSettings as error:
        raise BadSettings(*(_renamed(fault, settings, sink) for fault in error.faults)) from None


def _renamed(fault: SettingFault, settings: Settings, sink: str) -> SettingFault:
    setting, text, hint = (in_its_words(settings, sink, each) for each in (fault.setting, fault.text, fault.hint))
    return replace(fault, setting=setting, text=text, hint=hint)
